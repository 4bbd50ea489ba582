//! Deliveries: barnabas against a NestJS microservice and a bare kafkajs consumer that post, and what issue 5 wants besides.
//!
//! `cargo bench --bench deliver -- [--only CASE]… [--runs N] [--quick] [--write] [--barnabas PATH]`
//!
//! Whole processes against a broker of their own, in turns. Handlers are modes of this very program, the same for all, in
//! processes of their own: they count each event once and say when a tenth and when all of them were there, so that
//! neither starting nor a JIT's warming-up is measured. CPU seconds are those of the one process between these two moments.
//!
//! - [`input`]: the events; [`tally`]: what a handler has seen; [`sink`], [`worker`]: handlers; [`steady`]: a publisher;
//! - [`world`]: broker, topics, programs; [`process`]: one consumer at work; [`peers`]: how each is told to;
//! - [`cases`]: what is measured; [`report`]: tables and targets.
#![allow(clippy::print_stdout, reason = "a measurement's output")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod cases;
mod input;
mod options;
mod peers;
mod process;
mod report;
#[path = "../compare/shared.rs"]
mod shared;
mod sink;
mod steady;
#[path = "../../tests/kafka/support/mod.rs"]
mod support;
mod tally;
mod worker;
mod world;

use std::fs;
use std::path::Path;

use options::{Mode, Options};
use support::loud;
use world::World;

fn main() -> Result<(), String> {
    match Mode::parse(std::env::args().skip(1))? {
        Mode::Sink(settings) => sink::run(&settings),
        Mode::Worker(tally) => worker::run(&tally),
        Mode::Steady(settings) => steady::run(&settings),
        Mode::Measure(options) => measure(&options),
    }
}

fn measure(options: &Options) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = root.join("target/deliver");
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let programs = peers::Programs::prepare(root, &dir, options.barnabas.clone());
    let Some(mut world) = World::start(programs, dir) else {
        return Ok(());
    };
    let facts = report::facts(&world, options);
    facts.iter().for_each(|fact| println!("- {fact}"));
    let mut sections = Vec::new();
    let mut failed = 0;
    for case in cases::ALL {
        if !options.wants(case.name) {
            continue;
        }
        match (case.run)(&mut world, options) {
            Ok(section) => {
                println!("\n{}", section.markdown());
                sections.push(section);
            }
            Err(error) => {
                loud(&format!("{}: {error}", case.name));
                failed += 1;
            }
        }
    }
    if failed > 0 {
        return Err(format!("{failed} cases failed: nothing is written"));
    }
    let result = report::markdown(&facts, &sections);
    if sections.len() > 1 {
        println!("\n{}", report::targets(&sections));
    }
    if options.write {
        report::write(&root.join("docs/performance.md"), &result).map_err(|error| error.to_string())?;
    }
    Ok(())
}
