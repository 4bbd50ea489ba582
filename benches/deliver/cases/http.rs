//! Posting to a handler that answers 204 at once.

use super::{MANY, RATE_HEAD, middle, peak, rate_row};
use crate::input::Input;
use crate::options::Options;
use crate::peers::Peer;
use crate::process::{Process, Sample, Sink, Work};
use crate::report::{Section, Verdict};
use crate::world::World;

const CASE: &str = "http";

/// And how many of the topic's events each is measured on: so that a run takes some seconds.
const PEERS: [(Peer, u64); 4] = [
    (Peer::Barnabas, 1),
    (Peer::Nest, 5),
    (Peer::EachMessage, 5),
    (Peer::EachBatch, 4),
];

pub(crate) fn run(world: &mut World, options: &Options) -> Result<Section, String> {
    let input = Input::plain(options.events(MANY));
    let mut series: Vec<(Peer, Vec<Sample>)> = Vec::new();
    for _ in 0..options.runs {
        for (peer, share) in PEERS {
            let Some(sample) = once(world, peer, input, input.events / share)? else {
                continue;
            };
            match series.iter_mut().find(|(other, _)| *other == peer) {
                Some((_, samples)) => samples.push(sample),
                None => series.push((peer, vec![sample])),
            }
        }
    }
    let of = |peer: Peer| {
        series
            .iter()
            .find(|(other, _)| *other == peer)
            .map(|(_, samples)| samples.as_slice())
    };
    let ours = of(Peer::Barnabas).ok_or("barnabas did not run")?;
    let rate = |samples: &[Sample]| middle(samples, |sample| sample.rate);
    let cpu = |samples: &[Sample]| middle(samples, |sample| sample.cpu);
    let mut verdicts = Vec::new();
    // Of the two ways with kafkajs, the one that is faster is meant.
    let kafkajs = [Peer::EachMessage, Peer::EachBatch]
        .into_iter()
        .filter_map(|peer| Some((peer, of(peer)?)))
        .max_by(|(_, left), (_, right)| rate(left).total_cmp(&rate(right)));
    let nest = of(Peer::Nest).map(|samples| (Peer::Nest, samples));
    for (limit, other) in [(3.0, nest), (1.5, kafkajs)] {
        let Some((peer, theirs)) = other else { continue };
        verdicts.push(Verdict::at_least(
            CASE,
            format!("events/s ÷ {peer}"),
            limit,
            rate(ours) / rate(theirs),
        ));
        // Rounded up: a third.
        verdicts.push(Verdict::at_most(
            CASE,
            format!("CPU per event ÷ {peer}"),
            0.334,
            cpu(ours) / cpu(theirs),
        ));
    }
    verdicts.push(Verdict::at_most(CASE, "largest peak, MiB", 40.0, peak(ours)));
    let mut head = RATE_HEAD.to_vec();
    head.insert(3, "barnabas is");
    let rows = series.iter().map(|(peer, samples)| {
        let mut row = rate_row(&peer.to_string(), samples);
        let ratio = format!("{:.2}×", rate(ours) / rate(samples));
        row.insert(
            3,
            if *peer == Peer::Barnabas {
                String::new()
            } else {
                ratio
            },
        );
        row
    });
    Ok(Section {
        title: "HTTP",
        how: format!(
            "{} events, 10,000 keys, 6 partitions; the handler answers 204 at once. barnabas: `--concurrency 64`. Peers: 64 connections,
six partitions at once; kafkajs eachBatch posts a batch's events at once, those of one key in turn.",
            input.events
        ),
        head,
        rows: rows.collect(),
        verdicts,
    })
}

/// `None` if the peer is not there.
fn once(world: &mut World, peer: Peer, input: Input, expect: u64) -> Result<Option<Sample>, String> {
    let topic = world.filled(input)?;
    let group = world.new_group();
    let sink = Sink::start(world, input, expect, &[])?;
    let bootstrap = world.kafka.bootstrap();
    let command = world
        .programs
        .poster(peer, (&bootstrap, &group, &topic), &sink.url, &[]);
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
    Ok(Some(sample))
}
