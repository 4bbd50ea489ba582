//! The result as Markdown: on the terminal while it is measured, and in `docs/performance.md`.

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::measure::Sample;
use crate::peer::Peer;
use crate::runner::Outcome;
use crate::scenario::Work;
use crate::shared::{median, spread, write_between};
use crate::targets::{Verdict, verdicts};

const BEGIN: &str = "<!-- measured: written by `cargo bench --bench compare -- --write` -->";
const END: &str = "<!-- /measured -->";

/// The rows of one scenario, one per peer.
pub(crate) fn rows(outcome: &Outcome) -> String {
    let mut text = String::new();
    let bulk = outcome.scenario.is_bulk();
    for (peer, samples) in &outcome.series {
        let speed = |sample: &Sample| {
            if bulk {
                outcome.records as f64 / sample.wall / 1e6
            } else {
                sample.wall * 1e3
            }
        };
        let middle = |pick: fn(&Sample) -> f64| median(samples.iter().map(pick));
        let (low, high) = spread(samples.iter().map(speed));
        let ratio = match (
            peer,
            outcome.median(*peer, |sample| sample.wall),
            outcome.median(Peer::Barnabas, |sample| sample.wall),
        ) {
            (Peer::Kcat | Peer::FranzGo, Some(theirs), Some(ours)) => format!("{:.2}×", theirs / ours),
            _ => String::new(),
        };
        let _ = write!(
            text,
            "| {} | {peer} | {:.2} | {low:.2}–{high:.2} | {ratio} ",
            outcome.scenario,
            median(samples.iter().map(speed)),
        );
        if bulk {
            let stored = match outcome.scenario.work {
                Work::Produce { .. } => format!("{:.0}", middle(|sample| sample.stored)),
                _ => String::new(),
            };
            let _ = write!(
                text,
                "| {:.3} | {:.3} | {:.1} | {stored} | {:.2} | {:.0} % ",
                middle(Sample::cpu),
                middle(|sample| sample.system),
                samples.iter().map(|sample| sample.peak).fold(0.0, f64::max),
                middle(|sample| sample.broker),
                middle(|sample| sample.others) * 100.0,
            );
        } else {
            let _ = write!(
                text,
                "| {:.1} | {:.1} ",
                middle(Sample::cpu) * 1e3,
                samples.iter().map(|sample| sample.peak).fold(0.0, f64::max),
            );
        }
        text.push_str("|\n");
    }
    text
}

pub(crate) const BULK_HEAD: &str = "\
| scenario | program | M records/s | spread | barnabas is | CPU s | of it system | peak MiB | stored MiB | broker's CPU s | others |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
";

const ONE_HEAD: &str = "\
| scenario | program | ms | spread | barnabas is | CPU ms | peak MiB |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
";

/// One row.
pub(crate) fn verdict_row(verdict: &Verdict) -> String {
    format!(
        "| {} | {} | {} | {:.2} | {} |\n",
        verdict.scenario,
        verdict.figure,
        verdict.target,
        verdict.seen,
        if verdict.met { "yes" } else { "**no**" }
    )
}

/// The whole result. `facts` are lines about machine, versions and options; `further` are verdicts of no scenario.
pub(crate) fn markdown(facts: &[String], outcomes: &[Outcome], further: &[Verdict]) -> String {
    let mut text = String::new();
    for fact in facts {
        let _ = writeln!(text, "- {fact}");
    }
    let all: Vec<Verdict> = outcomes.iter().flat_map(verdicts).collect();
    let missed = all.iter().chain(further).filter(|verdict| !verdict.met).count();
    let _ = writeln!(
        text,
        "\n### Targets\n\n{} of {} met.\n",
        all.len() + further.len() - missed,
        all.len() + further.len()
    );
    text.push_str("| scenario | figure | target | seen | met |\n| --- | --- | ---: | ---: | --- |\n");
    for verdict in all.iter().chain(further) {
        text.push_str(&verdict_row(verdict));
    }
    for (title, head, bulk) in [
        ("The whole file", BULK_HEAD, true),
        ("One record, and none", ONE_HEAD, false),
    ] {
        let _ = write!(text, "\n### {title}\n\n{head}");
        for outcome in outcomes
            .iter()
            .filter(|outcome| outcome.scenario.is_bulk() == bulk)
        {
            text.push_str(&rows(outcome));
        }
    }
    let faults: Vec<&String> = outcomes.iter().flat_map(|outcome| &outcome.faults).collect();
    if !faults.is_empty() {
        text.push_str("\n### Runs that failed\n\n");
        for fault in faults {
            let _ = writeln!(text, "- {fault}");
        }
    }
    text
}

/// Puts the result between the marks in the document.
pub(crate) fn write(document: &Path, result: &str) -> io::Result<()> {
    write_between(document, (BEGIN, END), result)
}
