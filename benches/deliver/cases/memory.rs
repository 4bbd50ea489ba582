//! A million records behind, and a handler that is stuck.

use std::thread;
use std::time::{Duration, Instant};

use crate::input::Input;
use crate::options::Options;
use crate::peers::Peer;
use crate::process::{Process, Sink, Work};
use crate::report::{Section, Verdict};
use crate::shared::process_cpu;
use crate::tally::Said;
use crate::world::World;

const CASE: &str = "memory";
const EVENTS: u64 = 1_000_000;
/// For so long nothing must have moved.
const QUIET: Duration = Duration::from_secs(5);
/// What may still move in that time: MiB, and CPU seconds for heartbeats and reports.
const MOVED: (f64, f64) = (0.25, 0.25);
/// For all buffers to be full.
const LIMIT: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(world: &mut World, options: &Options) -> Result<Section, String> {
    let mut rows = Vec::new();
    let mut verdicts = Vec::new();
    for partitions in [6, 1] {
        let input = Input {
            partitions,
            ..Input::plain(options.events(EVENTS))
        };
        let (peak, full) = once(world, input)?;
        rows.push(vec![
            format!("partitions: {partitions}"),
            format!("{peak:.1}"),
            format!("{full:.1}"),
        ]);
        verdicts.push(Verdict::at_most(
            CASE,
            format!("peak, partitions: {partitions}; MiB"),
            100.0,
            peak,
        ));
    }
    Ok(Section {
        title: "Memory behind a stuck handler",
        how: format!(
            "{} records behind, with `--max-buffer` as it is by default; the handler takes connections and never answers. The peak when for {} s
neither memory nor CPU have moved.",
            options.events(EVENTS),
            QUIET.as_secs()
        ),
        head: vec!["topic", "peak MiB", "full after s"],
        rows,
        verdicts,
    })
}

/// Peak in MiB, and the seconds until nothing moved.
fn once(world: &mut World, input: Input) -> Result<(f64, f64), String> {
    let topic = world.filled(input)?;
    let group = world.new_group();
    let sink = Sink::start(world, input, input.events, &["--answer", "never"])?;
    let bootstrap = world.kafka.bootstrap();
    let command = world
        .programs
        .poster(Peer::Barnabas, (&bootstrap, &group, &topic), &sink.url, &[]);
    let mut work = Work {
        consumer: Process::start(command.ok_or("no barnabas")?, "barnabas", &world.dir)?,
        reports: &sink.reports,
        sink: Some(&sink),
        expect: input.events,
    };
    if work.wait(LIMIT)? != Said::First {
        return Err("no event came".to_owned());
    }
    let begin = Instant::now();
    let (mut since, mut rss, mut cpu) = (begin, f64::NAN, f64::NAN);
    while since.elapsed() < QUIET {
        thread::sleep(LOOK);
        work.consumer.runs()?;
        let (rss_now, cpu_now) = (work.consumer.memory("VmRSS"), process_cpu(work.consumer.pid()));
        let still = (rss_now - rss).abs() <= MOVED.0 && cpu_now - cpu <= MOVED.1;
        if !still {
            (since, rss, cpu) = (Instant::now(), rss_now, cpu_now);
        }
        if begin.elapsed() > LIMIT {
            return Err(format!(
                "its memory still moves after {LIMIT:?}: {rss_now:.1} MiB"
            ));
        }
    }
    let peak = work.consumer.memory("VmHWM");
    // It would wait for the handler: killed with the sink.
    drop(work);
    world.forget(Peer::Barnabas, &topic, &group);
    Ok((peak, since.duration_since(begin).as_secs_f64()))
}
