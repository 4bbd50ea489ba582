//! `consume`: prints what topics hold, alone or as a member of a group, or delivers it to a handler.
//!
//! Fetching is the runtime's thread, decoding and writing (which may block) another's.

mod alone;
mod deliver;
mod group;
pub(super) mod telling;

use std::ops::ControlFlow;

use crate::broker::cluster::Cluster;
use crate::broker::settings::BrokerSettings;
use crate::cli::Exit;
use crate::cli::format::Source;
use crate::cli::output::Output;
use crate::cli::settings::{ConsumeSettings, Reading};
use crate::fetch::event::Fetched;
use crate::record::{AbortedFilter, BatchError, Batches, DecodeBuffer, RecordView, Verdict};

/// Runs it.
pub(crate) async fn run(
    brokers: BrokerSettings,
    settings: ConsumeSettings,
    output: &Output,
) -> anyhow::Result<Exit> {
    let cluster = Cluster::new(brokers)?;
    let printing = settings.printing;
    match settings.reading {
        Reading::Alone(alone) => alone::run(cluster, alone, printing, output).await,
        Reading::Group(join) => match settings.handling {
            Some(handling) => deliver::run(cluster, join, handling, printing, output).await,
            None => group::run(cluster, join, printing, output).await,
        },
    }
}

/// From fetched bytes to records.
struct Decoder {
    buffer: DecodeBuffer,
    read_committed: bool,
    output: Output,
    /// Whether something was left out: it cannot be read, or is gone.
    unreadable: bool,
}

impl Decoder {
    fn new(read_committed: bool, output: Output) -> Self {
        Self {
            buffer: DecodeBuffer::new(),
            read_committed,
            output,
            unreadable: false,
        }
    }

    /// Calls `each` for each record that was asked for, with its batch's leader epoch, until it breaks. What cannot be
    /// decoded is told and left out.
    #[inline]
    fn each(
        &mut self,
        part: &Fetched,
        mut each: impl FnMut(&RecordView<'_>, i32) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<ControlFlow<()>> {
        let mut transactions = if self.read_committed {
            AbortedFilter::read_committed(part.aborted.iter().copied())
        } else {
            AbortedFilter::read_uncommitted()
        };
        for batch in Batches::new(&part.set) {
            let records = match transactions.decide(&batch) {
                Ok(Verdict::Deliver) => batch.records(&mut self.buffer),
                Ok(Verdict::Aborted | Verdict::Control(_)) => continue,
                Err(error) => Err(error),
            };
            let records = match records {
                Ok(records) => records,
                Err(error) => {
                    unreadable(&self.output, part, &error);
                    self.unreadable = true;
                    continue;
                }
            };
            for record in records {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => {
                        unreadable(&self.output, part, &error);
                        self.unreadable = true;
                        break;
                    }
                };
                if part.offsets.contains(&record.offset)
                    && each(&record, batch.header.leader_epoch)?.is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn source(part: &Fetched) -> Source<'_> {
    Source {
        topic: &part.topic,
        partition: part.partition,
        broker: part.broker,
    }
}

fn unreadable(output: &Output, part: &Fetched, error: &BatchError) {
    let reason = &error.reason;
    output.warn(&format!(
        "partition {} of topic {}: {error}: {reason}",
        part.partition, part.topic
    ));
}

fn gone(place: &str, from: i64, to: i64) -> String {
    format!(
        "{place}: offsets {from} to {} are gone (retention, or deleted): going on at {to}",
        to - 1
    )
}

/// Says of an error of writing what was written.
fn at_output(error: anyhow::Error) -> anyhow::Error {
    if error.is::<std::io::Error>() {
        error.context("cannot write to standard output")
    } else {
        error
    }
}
