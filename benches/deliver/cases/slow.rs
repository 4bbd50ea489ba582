//! A handler that takes 50 ms, and one partition.

use crate::input::Input;
use crate::options::Options;
use crate::peers::Peer;
use crate::process::{Process, Sink, Work};
use crate::report::{Section, Verdict};
use crate::world::World;

const CASE: &str = "slow";
/// What the handler takes, in milliseconds.
const MILLIS: &str = "50";
const EVENTS: u64 = 10_000;
/// Of those that come one at a time.
const FEW: u64 = 60;

pub(crate) fn run(world: &mut World, options: &Options) -> Result<Section, String> {
    let input = Input {
        partitions: 1,
        keys: 1_000,
        ..Input::plain(options.events(EVENTS))
    };
    let together = once(world, Peer::Barnabas, input, input.events, &[])?;
    let alone = once(world, Peer::Barnabas, input, FEW, &["--concurrency", "1"])?;
    let kafkajs = once(world, Peer::EachMessage, input, FEW, &[])?;
    let named = [
        ("barnabas, `--concurrency 64`", together),
        ("barnabas, `--concurrency 1`", alone),
        ("kafkajs eachMessage", kafkajs),
    ];
    let rows = named
        .iter()
        .filter_map(|(name, rate)| Some(vec![(*name).to_owned(), format!("{:.0}", (*rate)?)]));
    Ok(Section {
        title: "A slow handler",
        how: format!(
            "It takes {MILLIS} ms and no CPU. 1 partition, 1,000 keys, {} events.",
            input.events
        ),
        head: vec!["program", "events/s"],
        rows: rows.collect(),
        verdicts: vec![Verdict::at_least(
            CASE,
            "events/s with 50 ms each, 1 partition",
            1_000.0,
            together.ok_or("barnabas did not run")?,
        )],
    })
}

/// Events a second; `None` if the peer is not there.
fn once(
    world: &mut World,
    peer: Peer,
    input: Input,
    expect: u64,
    flags: &[&str],
) -> Result<Option<f64>, String> {
    let topic = world.filled(input)?;
    let group = world.new_group();
    let sink = Sink::start(world, input, expect, &["--answer", MILLIS])?;
    let bootstrap = world.kafka.bootstrap();
    let command = world
        .programs
        .poster(peer, (&bootstrap, &group, &topic), &sink.url, flags);
    let Some(command) = command else { return Ok(None) };
    let mut work = Work {
        consumer: Process::start(command, &peer.to_string(), &world.dir)?,
        reports: &sink.reports,
        sink: Some(&sink),
        expect,
    };
    let sample = work.finish(world)?;
    work.consumer.stop()?;
    world.forget(peer, &topic, &group);
    Ok(Some(sample.rate))
}
