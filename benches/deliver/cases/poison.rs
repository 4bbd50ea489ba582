//! A key that fails for ever, and the others.

use super::{RATE_HEAD, rate_row};
use crate::input::Input;
use crate::options::Options;
use crate::peers::Peer;
use crate::process::{Process, Sample, Sink, Work};
use crate::report::{Section, Verdict};
use crate::shared::median;
use crate::world::World;

const CASE: &str = "poison";
/// Of the other keys.
const EVENTS: u64 = 400_000;
/// So that dead letters are seen within a run.
const FLAGS: [&str; 4] = ["--retry", "5", "--backoff", "20ms..200ms"];
const RETRY: f64 = 5.0;
/// Events of the other keys where one key has 30 %: that one's alone are more than the 4,096 which a partition may have
/// unfinished, so it goes on only as fast as they are set aside.
const OTHERS: u64 = 9_800;

/// What a run left behind.
struct Run {
    sample: Sample,
    /// Of the dead letters: how often each was delivered.
    deliveries: Vec<f64>,
}

pub(crate) fn run(world: &mut World, options: &Options) -> Result<Section, String> {
    let events = options.events(EVENTS);
    let input = Input {
        poison: events / 10_000,
        ..Input::plain(events)
    };
    let (mut without, mut with, mut deliveries) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..options.runs {
        // Who is first takes turns as well.
        for fails in [run % 2 == 0, run % 2 == 1] {
            let run = once(world, input, fails)?;
            if fails {
                with.push(run.sample);
                deliveries.extend(run.deliveries);
            } else {
                without.push(run.sample);
            }
        }
    }
    let heavy = Input {
        partitions: 1,
        poison: OTHERS * 3 / 7,
        ..Input::plain(OTHERS)
    };
    let heavy_without = once(world, heavy, false)?.sample;
    let heavy_with = once(world, heavy, true)?;
    let most = |of: &[f64]| of.iter().copied().fold(f64::NAN, f64::max);
    let least = |of: &[f64]| of.iter().copied().fold(f64::NAN, f64::min);
    // The two of a pair ran one after the other: what else the machine did hit both.
    let pairs = with.iter().zip(&without);
    let ratio = median(pairs.map(|(with, without)| with.rate / without.rate));
    Ok(Section {
        title: "A key that fails for ever",
        how: format!(
            "The handler answers 500 to it and 204 to all others, whose events are counted; `{}`. One key of 10,001: {} events of {}, 6 partitions;
runs with and without it in pairs, of whose ratios the target's is the median. Its dead letters had {} to {} attempts.
With 30 % of the traffic: {} events of {}, 1 partition; {} of them were dead letters when the others were done.",
            FLAGS.join(" "),
            input.poison,
            input.events + input.poison,
            least(&deliveries),
            most(&deliveries),
            heavy.poison,
            heavy.events + heavy.poison,
            heavy_with.deliveries.len(),
        ),
        head: RATE_HEAD.to_vec(),
        rows: vec![
            rate_row("none fails", &without),
            rate_row("one of 10,001 keys fails", &with),
            rate_row("1 partition, none fails", &[heavy_without]),
            rate_row("1 partition, a key with 30 % fails", &[heavy_with.sample]),
        ],
        verdicts: vec![
            Verdict::at_least(CASE, "others' events/s ÷ without it", 0.95, ratio),
            // Those that do not count come on top: which do is seen by nobody outside, and is tested in the core.
            Verdict::at_least(CASE, "attempts of its dead letters, the fewest", RETRY, least(&deliveries)),
            // The run fails unless all of the others' events were done.
            Verdict::at_least(
                CASE,
                "others' events/s in the partition of a key with 30 %",
                1.0,
                heavy_with.sample.rate,
            ),
        ],
    })
}

fn once(world: &mut World, input: Input, fails: bool) -> Result<Run, String> {
    let topic = world.filled(input)?;
    let group = world.new_group();
    let answer = if fails { "poison" } else { "done" };
    let sink = Sink::start(world, input, input.events, &["--answer", answer])?;
    let bootstrap = world.kafka.bootstrap();
    let command = world
        .programs
        .poster(Peer::Barnabas, (&bootstrap, &group, &topic), &sink.url, &FLAGS);
    let mut work = Work {
        consumer: Process::start(command.ok_or("no barnabas")?, "barnabas", &world.dir)?,
        reports: &sink.reports,
        sink: Some(&sink),
        expect: input.events,
    };
    let sample = work.finish(world)?;
    work.consumer.stop()?;
    let letters = deliveries(world, &format!("{topic}.dlq.{group}"))?;
    world.forget(Peer::Barnabas, &topic, &group);
    match (fails, letters.is_empty()) {
        (true, true) => Err("nothing was set aside".to_owned()),
        (false, false) => Err(format!("{} events were set aside", letters.len())),
        _ => Ok(Run {
            sample,
            deliveries: letters,
        }),
    }
}

/// How often each open dead letter was delivered.
fn deliveries(world: &World, dlq: &str) -> Result<Vec<f64>, String> {
    let bootstrap = world.kafka.bootstrap();
    let output = world
        .programs
        .barnabas(&["dlq", "list", "-b", &bootstrap, dlq, "--json"])
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let letters = report["letters"].as_array().ok_or("dlq list lists none")?;
    Ok(letters
        .iter()
        .filter_map(|letter| letter["deliveries"].as_f64())
        .collect())
}
