//! `consume` without a group: prints what topics hold.
//!
//! Fetching is the runtime's thread, decoding and writing (which may block) another's.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::oneshot;

use super::{Decoder, at_output};
use crate::broker::cluster::{Cluster, Lane};
use crate::broker::error;
use crate::broker::metadata::{Metadata, PartitionId};
use crate::broker::offsets::{self, OffsetQuery, Wanted};
use crate::cli::Exit;
use crate::cli::format::{KeyFilter, Printer};
use crate::cli::output::{Data, Output, plural};
use crate::cli::settings::{AloneSettings, PrintSettings, Start};
use crate::fetch::cursor::Cursor;
use crate::fetch::event::{Event, Fetched};
use crate::fetch::fetcher::Fetcher;
use crate::shutdown::Interrupts;

/// How long an interrupt waits for what is being printed to be whole: nobody may read the pipe.
const GRACE: Duration = Duration::from_millis(300);

/// Runs it.
pub(super) async fn run(
    cluster: Cluster,
    settings: AloneSettings,
    printing: PrintSettings,
    output: &Output,
) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::new()?;
    let read_committed = printing.read_committed();
    let data = output.data().context("cannot write to standard output")?;
    let cursors = tokio::select! {
        cursors = async {
            let partitions = partitions(&cluster, &settings).await?;
            let view = cluster.view();
            let leaders: BTreeSet<i32> = partitions
                .iter()
                .filter_map(|(topic, partition)| Some(view.leader(topic, *partition)?.0))
                .collect();
            cluster.warm_up(leaders, Lane::Fetch);
            cursors(&cluster, &settings, &printing, partitions, output).await
        } => cursors?,
        () = interrupts.next() => return Ok(Exit::Interrupted),
    };
    let fetcher = Fetcher::start(cluster, cursors, printing.fetch, read_committed);
    let stopper = fetcher.stopper();
    let stop = Arc::new(AtomicBool::new(false));
    let reader = Reading {
        decoder: Decoder::new(read_committed, *output),
        printer: Printer::new(printing.print, printing.null_text),
        filter: printing.key_filter,
        left: printing.count,
        unbuffered: printing.unbuffered,
        data,
        output: *output,
        stop: Arc::clone(&stop),
    };
    let (tell, mut result) = oneshot::channel();
    std::thread::Builder::new()
        .name("printer".to_owned())
        // The receiver is gone only after an interrupt.
        .spawn(move || drop(tell.send(reader.run(fetcher).map_err(at_output))))
        .context("cannot start a thread for printing")?;
    tokio::select! {
        result = &mut result => result.context("printing has ended early")?,
        () = interrupts.next() => {
            // Half a record printed would be taken for a whole one.
            stop.store(true, Ordering::Relaxed);
            stopper.stop();
            drop(tokio::time::timeout(GRACE, result).await);
            Ok(Exit::Interrupted)
        }
    }
}

/// What is to be read, as the brokers' metadata and `-p` have it.
async fn partitions(cluster: &Cluster, settings: &AloneSettings) -> anyhow::Result<Vec<PartitionId>> {
    let names: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
    let view = cluster.refresh(Some(&names)).await?;
    let mut partitions = Vec::new();
    for name in names {
        let count = partition_count(&view, name)?;
        let topic: Arc<str> = Arc::from(name);
        if let Some(beyond) = settings.partitions.iter().find(|partition| **partition >= count) {
            bail!(
                "topic {name} has {}: there is no partition {beyond}",
                plural(u64::from(count.unsigned_abs()), "partition")
            );
        }
        let all = settings
            .partitions
            .is_empty()
            .then_some(0..count)
            .into_iter()
            .flatten();
        partitions.extend(
            all.chain(settings.partitions.iter().copied())
                .map(|partition| (Arc::clone(&topic), partition)),
        );
    }
    Ok(partitions)
}

fn partition_count(view: &Metadata, name: &str) -> anyhow::Result<i32> {
    let topic = view
        .topics
        .get(name)
        .with_context(|| format!("the brokers say nothing of topic {name}"))?;
    if let Some(code) = topic.error {
        bail!("cannot read topic {name}: {}", error::explain(code));
    }
    i32::try_from(topic.partitions.len()).context("the topic has an impossible number of partitions")
}

/// Where to begin and to stop.
async fn cursors(
    cluster: &Cluster,
    settings: &AloneSettings,
    printing: &PrintSettings,
    partitions: Vec<PartitionId>,
    output: &Output,
) -> anyhow::Result<Vec<Cursor>> {
    let read_committed = printing.read_committed();
    let bounds = offsets::bounds(cluster, &partitions, read_committed).await?;
    let starts = match settings.start {
        Start::Time(millis) => Some(at_time(cluster, &partitions, millis, read_committed).await?),
        _ => None,
    };
    let stops = match settings.stop {
        Some(millis) => Some(at_time(cluster, &partitions, millis, read_committed).await?),
        None => None,
    };
    let mut cursors = Vec::new();
    for (index, ((topic, partition), bounds)) in partitions.into_iter().zip(bounds).enumerate() {
        let (first, end) = bounds?;
        let position = match settings.start {
            Start::Beginning => first,
            Start::End => end,
            Start::Offset(offset) => {
                if offset < first || offset > end {
                    output.warn(&format!(
                        "partition {partition} of topic {topic} has no offset {offset}, only {first} to {end}"
                    ));
                }
                offset.clamp(first, end)
            }
            Start::Last(count) => end.saturating_sub(count).max(first),
            Start::Time(_) => starts.as_ref().and_then(|starts| starts[index]).unwrap_or(end),
        };
        // As in kcat, a time that no record has yet stands for the end.
        let stop = stops.as_ref().map(|stops| stops[index].unwrap_or(end));
        let stop = match (stop, printing.exit_at_end) {
            (Some(stop), true) => Some(stop.min(end)),
            (None, true) => Some(end),
            (stop, false) => stop,
        };
        cursors.push(Cursor::new(topic, partition, position, stop));
    }
    Ok(cursors)
}

async fn at_time(
    cluster: &Cluster,
    partitions: &[PartitionId],
    millis: i64,
    read_committed: bool,
) -> anyhow::Result<Vec<Option<i64>>> {
    let query = OffsetQuery::At(millis);
    let wanted: Vec<Wanted> = partitions
        .iter()
        .map(|(topic, partition)| Wanted {
            topic: Arc::clone(topic),
            partition: *partition,
            query,
        })
        .collect();
    let mut found = Vec::new();
    for outcome in offsets::list(cluster, &wanted, read_committed).await? {
        found.push(outcome?.map(|found| found.offset));
    }
    Ok(found)
}

/// The printing thread's state.
struct Reading {
    decoder: Decoder,
    printer: Printer,
    filter: Option<KeyFilter>,
    /// Records still to be printed (`-c`).
    left: Option<u64>,
    unbuffered: bool,
    data: Data,
    output: Output,
    /// Set by an interrupt.
    stop: Arc<AtomicBool>,
}

impl Reading {
    /// Prints until the fetcher has no more, or enough is printed.
    fn run(mut self, mut fetcher: Fetcher) -> anyhow::Result<Exit> {
        if !self.unbuffered {
            self.data.write_behind()?;
        }
        let mut failure = None;
        while self.left != Some(0) && !self.stop.load(Ordering::Relaxed) {
            let event = match fetcher.try_next() {
                Some(event) => event,
                None => {
                    // Nothing to do: what was printed shall be seen.
                    self.data.flush_all()?;
                    match fetcher.blocking_next() {
                        Some(event) => event,
                        None => break,
                    }
                }
            };
            match event {
                Event::Fetched(parts) => {
                    for part in &parts {
                        if self.print(part)?.is_break() {
                            break;
                        }
                    }
                }
                Event::Moved {
                    topic,
                    partition,
                    from,
                    to,
                    ..
                } => self.moved(&topic, partition, from, to),
                Event::Recreated {
                    topic, partition, from, ..
                } => self.output.warn(&format!(
                    "topic {topic} was deleted and created again: partition {partition}, read up to offset {from} \
                     of the old one, goes on at the beginning of the new one"
                )),
                Event::Failed {
                    topic,
                    partition,
                    error,
                    ..
                } => {
                    // At once: the other partitions may go on for ever.
                    let error = anyhow::Error::new(error);
                    self.output.warn(&format!("{error:#}"));
                    let place = format!("partition {partition} of topic {topic}");
                    failure = failure.or_else(|| Some(error.context(format!("{place} was not read to its end"))));
                }
            }
        }
        self.data.finish()?;
        match failure {
            Some(error) => Err(error),
            None if self.decoder.unreadable => Ok(Exit::Refused),
            None => Ok(Exit::Done),
        }
    }

    fn moved(&mut self, topic: &str, partition: i32, from: i64, to: i64) {
        let place = format!("partition {partition} of topic {topic}");
        self.decoder.unreadable |= to > from;
        self.output.warn(&if to > from {
            super::gone(&place, from, to)
        } else {
            format!("{place} was cut back to offset {to} (it was read up to {from}): going on there")
        });
    }

    /// Prints one partition's batches. Breaks when enough is printed.
    fn print(&mut self, part: &Fetched) -> anyhow::Result<ControlFlow<()>> {
        let source = super::source(part);
        self.decoder.each(part, |record, _| {
            if self
                .filter
                .as_ref()
                .is_some_and(|filter| !filter.matches(record.key))
            {
                return Ok(ControlFlow::Continue(()));
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(ControlFlow::Break(()));
            }
            self.printer.print(source, record, self.data.buffer());
            if self.unbuffered {
                self.data.flush_all()?;
            } else {
                self.data.flush_full()?;
            }
            if let Some(left) = &mut self.left {
                *left -= 1;
                if *left == 0 {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}
