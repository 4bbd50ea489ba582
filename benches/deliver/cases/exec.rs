//! One worker process.

use super::{MANY, RATE_HEAD, middle, rate_row};
use crate::input::Input;
use crate::options::Options;
use crate::peers::Peer;
use crate::process::{Process, Sample, Work, tally_args};
use crate::report::{Section, Verdict};
use crate::tally::Reports;
use crate::world::World;

const CASE: &str = "exec";
/// Events in the worker at once.
const INFLIGHT: &str = "256";

/// Who says yes to each line.
#[derive(Debug, Clone, Copy)]
enum Worker {
    Compiled,
    Python,
}

pub(crate) fn run(world: &mut World, options: &Options) -> Result<Section, String> {
    let input = Input::plain(options.events(MANY));
    let (mut compiled, mut python) = (Vec::new(), Vec::new());
    for run in 0..options.runs {
        compiled.push(once(world, Worker::Compiled, input, input.events)?);
        // For information: once is enough.
        if run == 0 {
            python.push(once(world, Worker::Python, input, input.events / 4)?);
        }
    }
    Ok(Section {
        title: "A worker process",
        how: format!(
            "`--exec` with one process that answers `ok` to each line; `--worker-inflight {INFLIGHT} --concurrency {INFLIGHT}`. {} events,
6 partitions; CPU and peak are barnabas' alone. The worker in Python reads and writes by `json`.",
            input.events
        ),
        head: RATE_HEAD.to_vec(),
        rows: vec![
            rate_row("a compiled worker", &compiled),
            rate_row("a worker in Python", &python),
        ],
        verdicts: vec![Verdict::at_least(
            CASE,
            "events/s through one worker",
            50_000.0,
            middle(&compiled, |sample| sample.rate),
        )],
    })
}

fn once(world: &mut World, worker: Worker, input: Input, expect: u64) -> Result<Sample, String> {
    let topic = world.filled(input)?;
    let group = world.new_group();
    let reports = Reports::open().map_err(|error| error.to_string())?;
    let program = match worker {
        Worker::Compiled => format!("{} --worker", world.programs.harness.display()),
        Worker::Python => format!(
            "python3 {}",
            concat!(env!("CARGO_MANIFEST_DIR"), "/benches/deliver/peers/worker.py")
        ),
    };
    let exec = format!(
        "{program} {}",
        tally_args(&reports, input.events, expect).join(" ")
    );
    let bootstrap = world.kafka.bootstrap();
    let mut command = world
        .programs
        .barnabas(&["consume", "-q", "-b", &bootstrap, "-g", &group, "-t", &topic]);
    command.args([
        "--exec",
        &exec,
        "--worker-inflight",
        INFLIGHT,
        "--concurrency",
        INFLIGHT,
    ]);
    let mut work = Work {
        consumer: Process::start(command, "barnabas", &world.dir)?,
        reports: &reports,
        sink: None,
        expect,
    };
    let sample = work.finish(world)?;
    work.consumer.stop()?;
    world.forget(Peer::Barnabas, &topic, &group);
    Ok(sample)
}
