//! What is measured.

use std::fmt;

/// One line of the result, measured for every peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) work: Work,
    /// Of the topic.
    pub(crate) partitions: i32,
}

/// What a process is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Publish the file, acknowledged by all replicas.
    Produce { codec: &'static str, keyed: bool },
    /// Print a topic to its end.
    Consume { codec: &'static str, sink: Sink },
    /// Publish a file of one line.
    PublishOne,
    /// Print a topic of one record.
    PrintOne,
    /// Print the version: what starting costs, without a broker.
    Start,
}

/// Where a consumer's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Values to /dev/null.
    Null,
    /// Values to a file, which is compared with the input.
    File,
    /// JSON objects to /dev/null.
    Json,
}

pub(crate) const CODECS: [&str; 3] = ["none", "lz4", "zstd"];

impl Scenario {
    /// All, in the order of the report.
    pub(crate) fn all() -> Vec<Self> {
        let mut works = Vec::new();
        for codec in CODECS {
            for keyed in [false, true] {
                works.push(Work::Produce { codec, keyed });
            }
        }
        for codec in CODECS {
            works.push(Work::Consume {
                codec,
                sink: Sink::Null,
            });
        }
        for sink in [Sink::File, Sink::Json] {
            works.push(Work::Consume { codec: "none", sink });
        }
        let mut all: Vec<Self> = works
            .into_iter()
            .flat_map(|work| [1, 6].map(|partitions| Self { work, partitions }))
            .collect();
        all.extend([Work::PublishOne, Work::PrintOne, Work::Start].map(|work| Self { work, partitions: 1 }));
        all
    }

    /// Whether a process moves the whole file, and not one record or none.
    pub(crate) fn is_bulk(&self) -> bool {
        matches!(self.work, Work::Produce { .. } | Work::Consume { .. })
    }
}

/// The name, which filters are matched against: `produce/none/keyed/6p`.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = self.partitions;
        match self.work {
            Work::Produce { codec, keyed } => {
                let keys = if keyed { "keyed" } else { "plain" };
                write!(f, "produce/{codec}/{keys}/{partitions}p")
            }
            Work::Consume { codec, sink } => {
                let sink = match sink {
                    Sink::Null => "null",
                    Sink::File => "file",
                    Sink::Json => "json",
                };
                write!(f, "consume/{codec}/{sink}/{partitions}p")
            }
            Work::PublishOne => f.write_str("one/produce"),
            Work::PrintOne => f.write_str("one/consume"),
            Work::Start => f.write_str("start"),
        }
    }
}
