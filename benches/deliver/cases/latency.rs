//! From the acknowledgement of an event to its handler.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::input::Input;
use crate::options::Options;
use crate::peers::Peer;
use crate::process::{Process, Sink, Work};
use crate::report::{Section, Verdict};
use crate::tally::{Said, read_times};
use crate::world::World;

const CASE: &str = "latency";
/// Events that are measured: 30 s of them.
const EVENTS: u64 = 30_000;
/// Events before these, while a JIT warms up.
const BEFORE: u64 = 5_000;
/// For the first event to come through.
const FIRST: Duration = Duration::from_secs(60);
/// For all of them.
const ALL: Duration = Duration::from_secs(120);

pub(crate) fn run(world: &mut World, options: &Options) -> Result<Section, String> {
    let events = options.events(EVENTS);
    let mut rows = Vec::new();
    let mut verdicts = Vec::new();
    for peer in [Peer::Barnabas, Peer::Nest, Peer::EachMessage] {
        let Some(mut millis) = once(world, peer, events)? else {
            continue;
        };
        millis.sort_by(f64::total_cmp);
        // In ten thousandths.
        let at = |share: usize| millis[(millis.len() * share / 10_000).min(millis.len() - 1)];
        let shown = [5_000, 9_000, 9_900, 9_990, 10_000].map(|share| format!("{:.2}", at(share)));
        rows.push([vec![peer.to_string()], shown.to_vec()].concat());
        if peer == Peer::Barnabas {
            verdicts.push(Verdict::at_most(CASE, "p50, ms", 2.0, at(5_000)));
            verdicts.push(Verdict::at_most(CASE, "p99, ms", 10.0, at(9_900)));
        }
    }
    Ok(Section {
        title: "Latency",
        how: format!(
            "1,000 events a second, each published by itself (idempotent, acks=all), {events} of them after {BEFORE} to warm up; milliseconds
from the acknowledgement at the publisher to the handler, one clock. An event may be there before its publisher knows."
        ),
        head: vec!["program", "p50", "p90", "p99", "p99.9", "most"],
        rows,
        verdicts,
    })
}

/// Milliseconds of each event; `None` if the peer is not there.
fn once(world: &mut World, peer: Peer, events: u64) -> Result<Option<Vec<f64>>, String> {
    let count = BEFORE + events;
    // One event shows that the group is at work; its number is behind all others.
    let input = Input {
        first: count,
        ..Input::plain(1)
    };
    let topic = world.fill(input)?;
    let group = world.new_group();
    let arrivals = world.dir.join("arrivals");
    let path = arrivals.display().to_string();
    let sink = Sink::start(world, input, count + 1, &["--arrivals", &path])?;
    let bootstrap = world.kafka.bootstrap();
    let command = world
        .programs
        .poster(peer, (&bootstrap, &group, &topic), &sink.url, &[]);
    let Some(command) = command else { return Ok(None) };
    let mut work = Work {
        consumer: Process::start(command, &peer.to_string(), &world.dir)?,
        reports: &sink.reports,
        sink: Some(&sink),
        expect: count,
    };
    if work.wait(FIRST)? != Said::First {
        return Err(format!("{peer}: the first event is not the first"));
    }
    let acks = world.dir.join("acks");
    let mut steady = Command::new(&world.programs.harness);
    steady
        .args(["--steady", "--bootstrap", &bootstrap, "--topic", &topic])
        .args(["--partitions", &input.partitions.to_string()])
        .args(["--count", &count.to_string(), "--acks"])
        .arg(&acks);
    Process::start(steady, "steady", &world.dir)?.ends(ALL)?;
    loop {
        match work.wait(ALL)? {
            Said::Warm(_) => {}
            Said::Done(_, 0) => break,
            other => return Err(format!("{peer}: the handler said {other:?}")),
        }
    }
    work.consumer.stop()?;
    world.forget(peer, &topic, &group);
    let read = |path: &Path| read_times(path).map_err(|error| error.to_string());
    let (acks, arrivals) = (read(&acks)?, read(&arrivals)?);
    let millis = acks
        .iter()
        .zip(&arrivals)
        .skip(usize::try_from(BEFORE).unwrap_or(0));
    Ok(Some(
        millis
            .map(|(ack, arrival)| (*arrival as f64 - *ack as f64) / 1e6)
            .collect(),
    ))
}
