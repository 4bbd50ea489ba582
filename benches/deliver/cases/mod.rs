//! What is measured, in the order of the report.

mod exec;
mod http;
mod latency;
mod memory;
mod poison;
mod slow;

use crate::options::Options;
use crate::process::Sample;
use crate::report::Section;
use crate::shared::{median, spread};
use crate::world::World;

/// A measurement.
pub(crate) struct Case {
    /// For `--only`.
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut World, &Options) -> Result<Section, String>,
}

pub(crate) const ALL: [Case; 6] = [
    Case {
        name: "http",
        run: http::run,
    },
    Case {
        name: "latency",
        run: latency::run,
    },
    Case {
        name: "slow",
        run: slow::run,
    },
    Case {
        name: "exec",
        run: exec::run,
    },
    Case {
        name: "memory",
        run: memory::run,
    },
    Case {
        name: "poison",
        run: poison::run,
    },
];

/// Events that a topic for throughput holds.
const MANY: u64 = 500_000;

/// Of these samples.
fn middle(samples: &[Sample], pick: fn(&Sample) -> f64) -> f64 {
    median(samples.iter().map(pick))
}

/// The largest peak of them.
fn peak(samples: &[Sample]) -> f64 {
    samples.iter().map(|sample| sample.peak).fold(0.0, f64::max)
}

const RATE_HEAD: [&str; 8] = [
    "program",
    "events/s",
    "spread",
    "CPU µs/event",
    "peak MiB",
    "handler's core",
    "broker's core",
    "others",
];

/// A row under [`RATE_HEAD`].
fn rate_row(name: &str, samples: &[Sample]) -> Vec<String> {
    let (low, high) = spread(samples.iter().map(|sample| sample.rate));
    vec![
        name.to_owned(),
        format!("{:.0}", middle(samples, |sample| sample.rate)),
        format!("{low:.0}–{high:.0}"),
        format!("{:.1}", middle(samples, |sample| sample.cpu)),
        format!("{:.1}", peak(samples)),
        format!("{:.0} %", middle(samples, |sample| sample.handler) * 100.0),
        format!("{:.0} %", middle(samples, |sample| sample.broker) * 100.0),
        format!("{:.0} %", middle(samples, |sample| sample.others) * 100.0),
    ]
}
