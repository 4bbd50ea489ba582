//! The result as Markdown: on the terminal while it is measured, and in `docs/performance.md`.

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::options::Options;
use crate::shared::{barnabas_version, circumstances, first_line, write_between};
use crate::support::dist;
use crate::world::World;

const MARKS: (&str, &str) = (
    "<!-- delivered: written by `cargo bench --bench deliver -- --write` -->",
    "<!-- /delivered -->",
);

/// A target for one figure.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) case: &'static str,
    pub(crate) figure: String,
    target: String,
    seen: f64,
    met: bool,
}

impl Verdict {
    pub(crate) fn at_least(case: &'static str, figure: impl Into<String>, limit: f64, seen: f64) -> Self {
        Self {
            case,
            figure: figure.into(),
            target: format!("≥ {limit}"),
            seen,
            met: seen >= limit,
        }
    }

    pub(crate) fn at_most(case: &'static str, figure: impl Into<String>, limit: f64, seen: f64) -> Self {
        Self {
            case,
            figure: figure.into(),
            target: format!("≤ {limit}"),
            seen,
            met: seen <= limit,
        }
    }
}

/// What a case found.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// How it was measured.
    pub(crate) how: String,
    /// Names of columns; the first one's cells are words.
    pub(crate) head: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) verdicts: Vec<Verdict>,
}

impl Section {
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}\n\n", self.title, self.how);
        let _ = writeln!(text, "| {} |", self.head.join(" | "));
        let numbers = " ---: |".repeat(self.head.len().saturating_sub(1));
        let _ = writeln!(text, "| --- |{numbers}");
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }
}

/// All targets.
pub(crate) fn targets(sections: &[Section]) -> String {
    let all: Vec<&Verdict> = sections.iter().flat_map(|section| &section.verdicts).collect();
    let met = all.iter().filter(|verdict| verdict.met).count();
    let mut text = format!("### Targets\n\n{met} of {} met.\n\n", all.len());
    text.push_str("| case | figure | target | seen | met |\n| --- | --- | ---: | ---: | --- |\n");
    for Verdict {
        case,
        figure,
        target,
        seen,
        met,
    } in all
    {
        let met = if *met { "yes" } else { "**no**" };
        let decimals = if *seen >= 1_000.0 { 0 } else { 2 };
        let _ = writeln!(
            text,
            "| {case} | {figure} | {target} | {seen:.decimals$} | {met} |"
        );
    }
    text
}

/// Lines about when, where, with what and how.
pub(crate) fn facts(world: &World, options: &Options) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    vec![
        circumstances(),
        format!(
            "Apache Kafka {} on {}; barnabas {}; {}",
            dist::VERSION,
            first_line("java", &["-version"], |_| true).replace('"', ""),
            barnabas_version(&world.programs.barnabas),
            world.programs.versions(root),
        ),
        format!(
            "medians of {} runs, each program in turn, each run in a new group",
            options.runs
        ),
    ]
}

/// The whole result.
pub(crate) fn markdown(facts: &[String], sections: &[Section]) -> String {
    let mut text = String::new();
    for fact in facts {
        let _ = writeln!(text, "- {fact}");
    }
    let _ = write!(text, "\n{}", targets(sections));
    for section in sections {
        let _ = write!(text, "\n{}", section.markdown());
    }
    text
}

/// Puts the result into the document.
pub(crate) fn write(document: &Path, result: &str) -> io::Result<()> {
    write_between(document, MARKS, result)
}
