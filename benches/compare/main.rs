//! barnabas against kcat and a program with franz-go: whole processes on the same broker and file, in turns.
//!
//! `cargo bench --bench compare -- [FILTER…] [--runs N] [--records N] [--quick] [--write] [--barnabas PATH]`
//!
//! Starts Apache Kafka as the tests do, with a real broker's JVM flags. A filter is a part of a scenario's name, such
//! as `produce/none` or `6p`. `--quick` is for trying the harness out; `--write` puts the result into
//! `docs/performance.md`. Medians are told; every run is checked (records counted, output compared).
//!
//! - [`scenario`]: what is measured; [`peer`]: how each program is told to do it;
//! - [`input`]: the file; [`measure`]: one process; [`runner`]: all of them in turns;
//! - [`targets`]: what issue 3 wants; [`report`]: tables; [`machine`]: versions; [`shared`]: what other measurements use too.
#![allow(clippy::print_stdout, reason = "a measurement's output")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod input;
mod machine;
mod measure;
mod peer;
mod report;
mod runner;
mod scenario;
mod shared;
#[path = "../../tests/kafka/support/mod.rs"]
mod support;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use runner::Runner;
use scenario::Scenario;
use support::{Jvm, Kafka, loud};
use targets::Verdict;

#[derive(Debug)]
struct Options {
    filters: Vec<String>,
    /// Of a scenario with the whole file.
    runs: usize,
    /// Of a scenario with one record.
    short_runs: usize,
    records: u64,
    warm_up: usize,
    write: bool,
    barnabas: Option<PathBuf>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            filters: Vec::new(),
            runs: 9,
            short_runs: 30,
            records: 1_000_000,
            warm_up: 5,
            write: false,
            barnabas: None,
        };
        while let Some(arg) = args.next() {
            let mut number = || {
                let value = args.next().and_then(|value| value.parse::<u32>().ok());
                value.filter(|value| *value > 0).ok_or(format!("{arg} N"))
            };
            match arg.as_str() {
                "--bench" => {} // from cargo
                "--quick" => {
                    options.runs = 3;
                    options.short_runs = 10;
                    options.records = 200_000;
                    options.warm_up = 1;
                }
                "--runs" => options.runs = number()? as usize,
                "--records" => options.records = number()?.into(),
                "--write" => options.write = true,
                "--barnabas" => options.barnabas = Some(args.next().ok_or("--barnabas PATH")?.into()),
                flag if flag.starts_with('-') => return Err(format!("{flag}?")),
                _ => options.filters.push(arg),
            }
        }
        if options.write && !options.filters.is_empty() {
            return Err("--write wants all scenarios: no filter".to_owned());
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}

fn main() -> Result<(), String> {
    let options = Options::parse(std::env::args().skip(1))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = root.join("target/compare");
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let programs = peer::Programs::build(root, options.barnabas.clone());
    let input = input::Input::write(&dir, options.records).map_err(|error| error.to_string())?;
    let Some(kafka) = Kafka::start_with(&support::Options {
        jvm: Jvm::Full,
        // What a run has published goes at once, not a minute after the topic.
        properties: vec![("log.segment.delete.delay.ms".to_owned(), "500".to_owned())],
        ..support::Options::default()
    }) else {
        return Ok(());
    };
    let mut facts = machine::facts(&programs, &input, &options.to_string());
    let (mut runner, missing) = Runner::new(kafka, programs, input, dir.join("output"));
    missing.iter().for_each(|line| loud(line));
    facts.extend(missing);
    for fact in &facts {
        println!("{fact}");
    }
    runner.warm_up(options.warm_up);
    println!("\n{}", report::BULK_HEAD.trim_end());
    let mut outcomes = Vec::new();
    for scenario in Scenario::all() {
        if !options.wants(&scenario.to_string()) {
            continue;
        }
        let runs = if scenario.is_bulk() {
            options.runs
        } else {
            options.short_runs
        };
        let outcome = runner.measure(scenario, runs);
        print!("{}", report::rows(&outcome));
        outcome.faults.iter().for_each(|fault| println!("FAULT {fault}"));
        outcomes.push(outcome);
    }
    let mut further = Vec::new();
    if options.wants("memory") {
        further.extend(more(&mut runner));
    }
    further.extend(machine::size(runner.programs()));
    let result = report::markdown(&facts, &outcomes, &further);
    println!("\n{result}");
    if options.write {
        report::write(&root.join("docs/performance.md"), &result).map_err(|error| error.to_string())?;
    }
    let faults: usize = outcomes.iter().map(|outcome| outcome.faults.len()).sum();
    if faults > 0 {
        return Err(format!("{faults} runs failed"));
    }
    Ok(())
}

/// Memory with a file four times as large.
fn more(runner: &mut Runner) -> Vec<Verdict> {
    match runner.peaks_of_more(4) {
        Ok((produce, consume)) => [("produce", produce), ("consume", consume)]
            .map(|(verb, seen)| Verdict {
                scenario: format!("{verb}, four times the file"),
                figure: "peak, MiB",
                target: format!("≤ {}", targets::PEAK_MIB),
                seen,
                met: seen <= targets::PEAK_MIB,
            })
            .into(),
        Err(error) => {
            loud(&format!("memory with more records is not known: {error}"));
            Vec::new()
        }
    }
}

impl std::fmt::Display for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { runs, short_runs, .. } = self;
        write!(
            f,
            "medians of {runs} runs a program; with one record or none, of {short_runs}"
        )
    }
}
