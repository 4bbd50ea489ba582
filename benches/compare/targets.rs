//! What issue 3 wants, and whether it is so.

use crate::peer::Peer;
use crate::runner::Outcome;
use crate::scenario::{Scenario, Sink, Work};
use crate::shared::median;

/// A target for one figure of one scenario.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) scenario: String,
    /// What is compared, such as `records/s ÷ franz-go's`.
    pub(crate) figure: &'static str,
    /// Such as `≥ 1.3`.
    pub(crate) target: String,
    pub(crate) seen: f64,
    pub(crate) met: bool,
}

enum Figure {
    /// Records per second, as a multiple of the peer's.
    Rate(Peer),
    /// CPU seconds, as a multiple of the peer's.
    Cpu(Peer),
    /// Largest peak of all runs, MiB.
    Peak,
    /// Milliseconds, median.
    Millis,
}

/// Peak memory of produce and consume, whatever the file's size.
pub(crate) const PEAK_MIB: f64 = 40.0;
/// Of the static binary.
pub(crate) const BINARY_MIB: f64 = 8.0;

fn targets(scenario: &Scenario) -> Vec<(Figure, f64)> {
    use Figure::{Cpu, Millis, Peak, Rate};
    use Peer::{FranzGo, Kcat};
    let mut targets = match scenario.work {
        Work::Produce { codec: "none", .. } => {
            vec![(Rate(FranzGo), 1.3), (Rate(Kcat), 1.8), (Cpu(FranzGo), 0.5)]
        }
        Work::Produce { .. } => vec![(Rate(FranzGo), 1.0)],
        Work::Consume { codec: "none", sink } => match sink {
            Sink::Null => vec![(Rate(FranzGo), 1.5), (Rate(Kcat), 4.0)],
            Sink::File => vec![(Rate(FranzGo), 1.5), (Rate(Kcat), 6.0)],
            Sink::Json => vec![(Rate(Kcat), 5.0)],
        },
        Work::PublishOne => vec![(Millis, 10.0)],
        Work::PrintOne => vec![(Millis, 7.0)],
        Work::Consume { .. } | Work::Start => Vec::new(),
    };
    if scenario.is_bulk() {
        targets.push((Peak, PEAK_MIB));
    }
    targets
}

/// Every target of the outcome's scenario that the peers at hand allow to be judged.
pub(crate) fn verdicts(outcome: &Outcome) -> Vec<Verdict> {
    let ours = |pick: fn(&crate::measure::Sample) -> f64| outcome.median(Peer::Barnabas, pick);
    let judge = |(figure, limit): (Figure, f64)| {
        let (name, seen, at_least) = match figure {
            Figure::Rate(peer) => {
                let name = match peer {
                    Peer::Kcat => "records/s ÷ kcat's",
                    _ => "records/s ÷ franz-go's",
                };
                let seen = outcome.median(peer, |sample| sample.wall)? / ours(|sample| sample.wall)?;
                (name, seen, true)
            }
            Figure::Cpu(peer) => {
                let seen = ours(|sample| sample.cpu())? / outcome.median(peer, |sample| sample.cpu())?;
                ("CPU s ÷ franz-go's", seen, false)
            }
            Figure::Peak => {
                let samples = outcome.samples(Peer::Barnabas)?;
                let seen = samples.iter().map(|sample| sample.peak).fold(0.0, f64::max);
                ("largest peak, MiB", seen, false)
            }
            Figure::Millis => ("ms", ours(|sample| sample.wall)? * 1e3, false),
        };
        Some(Verdict {
            scenario: outcome.scenario.to_string(),
            figure: name,
            target: format!("{} {limit}", if at_least { '≥' } else { '≤' }),
            seen,
            met: if at_least { seen >= limit } else { seen <= limit },
        })
    };
    targets(&outcome.scenario).into_iter().filter_map(judge).collect()
}

impl Outcome {
    pub(crate) fn samples(&self, peer: Peer) -> Option<&[crate::measure::Sample]> {
        let (_, samples) = self.series.iter().find(|(other, _)| *other == peer)?;
        Some(samples)
    }

    pub(crate) fn median(&self, peer: Peer, pick: fn(&crate::measure::Sample) -> f64) -> Option<f64> {
        Some(median(self.samples(peer)?.iter().map(pick)))
    }
}
