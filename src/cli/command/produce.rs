//! `produce`: inputs → records → batches → acknowledgements, and an account of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::mpsc;

use crate::broker::cluster::Cluster;
use crate::broker::error;
use crate::broker::metadata::Topic;
use crate::broker::settings::BrokerSettings;
use crate::broker::{max_message_bytes, metadata};
use crate::cli::Exit;
use crate::cli::output::{Output, Progress, plural, thousands};
use crate::cli::settings::{Cut, ProduceSettings};
use crate::clock;
use crate::produce::accumulator::{Accumulator, Batch, Limits};
use crate::produce::input::{InputOptions, Splitter};
use crate::produce::partitioner::{Partitioner, Partitions};
use crate::produce::producer::{Outcome, Producer, ProducerSettings, Submit};
use crate::produce::reader::{self, Event, Reader};
use crate::produce::tally::{self, Tally};
use crate::record::{Codec, Header, NewRecord};
use crate::shutdown::Interrupts;

/// Bytes of a record at most where compression leaves the judgement to the brokers.
const MAX_RECORD: usize = 64 << 20;
/// Lines and reasons that are printed each; the rest is only counted.
const MAX_PRINTED: u64 = 20;
/// Partitions whose counts are printed each.
const MAX_PARTITIONS: usize = 16;
/// Bytes that a batch has around a single record, more or less: what a record may have is a little below the topic's limit.
const RECORD_OVERHEAD: usize = 100;

/// Runs it.
pub(crate) async fn run(
    brokers: BrokerSettings,
    settings: ProduceSettings,
    output: &Output,
) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::new()?;
    let request_timeout = brokers.request_timeout;
    let cluster = Cluster::new(brokers)?;
    let producer_settings = ProducerSettings {
        delivery_timeout: settings.delivery_timeout,
        request_timeout,
        compression: settings.compression,
    };
    // Before the metadata: it gets its producer id meanwhile.
    let producer = Producer::start(cluster.clone(), producer_settings);
    let name = settings.topic.as_str();
    let names = [name];
    let (view, limit) = tokio::select! {
        known = async {
            tokio::try_join!(cluster.refresh(Some(&names)), max_message_bytes(&cluster, name))
        } => known?,
        () = interrupts.next() => return Ok(Exit::Interrupted),
    };
    let topic = usable(&view, name)?;
    let count =
        u32::try_from(topic.partitions.len()).context("the topic has an impossible number of partitions")?;
    if let Some(partition) = settings.partition
        && partition.unsigned_abs() >= count
    {
        bail!(
            "topic {name} has {}: there is no partition {partition}",
            partitions(count)
        );
    }
    let (reply, outcomes) = mpsc::unbounded_channel();
    // A codec may make a record fit that looks too large: then the brokers judge.
    let limit = settings.max_record.or(limit);
    let record_bytes = if settings.compression.codec() == Codec::None {
        limit
    } else {
        settings.max_record
    };
    let limits = Limits {
        batch_bytes: limit.map_or(settings.batching.bytes, |limit| {
            settings.batching.bytes.min(limit)
        }),
        batch_records: settings.batching.records,
        linger: settings.batching.linger,
        record_bytes,
        compression: settings.compression,
    };
    let line_limit = record_bytes.map_or(MAX_RECORD, |limit| limit.saturating_sub(RECORD_OVERHEAD));
    let total = if output.shows_progress() {
        total_bytes(&settings)
    } else {
        None
    };
    let mut run = Run {
        output,
        topic: Arc::from(name),
        count,
        available: available(topic),
        partition: settings.partition,
        partitioner: Partitioner::new(settings.strategy),
        accumulator: Accumulator::new(limits),
        producer,
        reply,
        outcomes,
        tally: Tally::default(),
        max_buffer: settings.max_buffer,
        sources: &settings.inputs,
        left: settings.count,
        refused: 0,
        accepted: 0,
        progress: output.progress(total),
        bytes_read: 0,
        failed: false,
        unread: None,
        interrupts,
        interrupted: false,
    };
    run.publish(&settings, line_limit).await?;
    run.report()
}

/// The topic's metadata, if it can be published to.
fn usable<'v>(view: &'v metadata::Metadata, name: &str) -> anyhow::Result<&'v Topic> {
    let topic = view
        .topics
        .get(name)
        .with_context(|| format!("the brokers say nothing of topic {name}"))?;
    if let Some(code) = topic.error {
        bail!("cannot use topic {name}: {}", error::explain(code));
    }
    if topic.partitions.is_empty() {
        bail!("topic {name} has no partitions");
    }
    Ok(topic)
}

fn available(topic: &Topic) -> Vec<i32> {
    (0..)
        .zip(&topic.partitions)
        .filter(|(_, partition)| partition.leader.is_some())
        .map(|(i, _)| i)
        .collect()
}

fn total_bytes(settings: &ProduceSettings) -> Option<u64> {
    settings
        .inputs
        .iter()
        .map(|source| match source {
            reader::Source::Stdin => None,
            reader::Source::File(path) => std::fs::metadata(path)
                .ok()
                .filter(std::fs::Metadata::is_file)
                .map(|file| file.len()),
        })
        .sum()
}

/// The state of a run.
struct Run<'a> {
    output: &'a Output,
    topic: Arc<str>,
    count: u32,
    available: Vec<i32>,
    partition: Option<i32>,
    partitioner: Partitioner,
    accumulator: Accumulator,
    producer: Producer,
    reply: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    tally: Tally,
    max_buffer: usize,
    sources: &'a [reader::Source],
    /// Records still to be taken (`-c`).
    left: Option<u64>,
    refused: u64,
    accepted: u64,
    progress: Progress,
    bytes_read: u64,
    /// Whether going on is of no use: the brokers, not a record, said no.
    failed: bool,
    /// Why an input could not be read.
    unread: Option<anyhow::Error>,
    interrupts: Interrupts,
    /// Nothing more is read; what was read goes out.
    interrupted: bool,
}

/// How late a batch may be while there is more to read: reading comes first, as full batches cost less.
const MAX_LATE: Duration = Duration::from_millis(50);

impl Run<'_> {
    /// Publishes everything, or what was read until an interrupt.
    async fn publish(&mut self, settings: &ProduceSettings, line_limit: usize) -> anyhow::Result<()> {
        let headers: Vec<Header<'_>> = settings
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()))
            .collect();
        let (cut, options) = match &settings.cut {
            Cut::Records(options) => (
                reader::Cut::Blocks,
                InputOptions {
                    max_record: line_limit,
                    ..options.clone()
                },
            ),
            Cut::Whole { .. } => (reader::Cut::Whole { limit: line_limit }, InputOptions::default()),
        };
        let mut splitter = Splitter::new(options, &headers);
        let mut reader =
            Reader::start(settings.inputs.clone(), cut).context("cannot start a thread for reading")?;
        while !self.failed && !self.interrupted && self.left != Some(0) {
            let due = self.accumulator.next_due();
            let event = tokio::select! {
                biased;
                () = self.interrupts.next() => {
                    self.interrupted = true;
                    break;
                }
                () = clock::sleep_until(due.map(|due| due + MAX_LATE)) => {
                    self.submit_due().await?;
                    continue;
                }
                event = reader.next() => event,
                Some(outcome) = self.outcomes.recv() => {
                    self.settle(outcome);
                    continue;
                }
                () = clock::sleep_until(due) => {
                    self.submit_due().await?;
                    continue;
                }
            };
            let Some(event) = event else { break };
            self.take(
                event,
                &mut splitter,
                &settings.cut,
                &headers,
                line_limit,
                &mut reader,
            )
            .await?;
            // A file in memory never makes us wait, but there are sockets and signals as well.
            tokio::task::yield_now().await;
        }
        if self.interrupted {
            // What was read goes out; a line that was begun does not.
            // Ends of sources as well: they end a last line, which the next source does not go on with.
            while let Some(event) = reader.rest().await {
                self.take(
                    event,
                    &mut splitter,
                    &settings.cut,
                    &headers,
                    line_limit,
                    &mut reader,
                )
                .await?;
            }
            if splitter.pending() > 0 {
                self.output
                    .warn("the last line had no end yet: it is not published");
            }
        }
        for batch in self.accumulator.take_all() {
            self.submit(batch).await?;
        }
        while !self.tally.is_settled() {
            tokio::select! {
                biased;
                () = self.interrupts.next() => {
                    if self.interrupted {
                        let lost = thousands(self.tally.records_out());
                        self.output.warn(&format!("stopped at once: {lost} records are not acknowledged"));
                        return Ok(());
                    }
                    self.interrupted = true;
                    self.output.note("waiting for acknowledgements; interrupt again to stop at once");
                }
                Some(outcome) = self.outcomes.recv() => self.settle(outcome),
            }
        }
        Ok(())
    }

    async fn submit_due(&mut self) -> anyhow::Result<()> {
        for batch in self.accumulator.take_due(clock::now()) {
            self.submit(batch).await?;
        }
        Ok(())
    }

    async fn take(
        &mut self,
        event: Event,
        splitter: &mut Splitter<'_>,
        cut: &Cut,
        headers: &[Header<'_>],
        line_limit: usize,
        reader: &mut Reader,
    ) -> anyhow::Result<()> {
        let now = clock::unix_millis();
        match event {
            Event::Block(source, block) => {
                self.bytes_read += block.len() as u64;
                if let Cut::Whole { key, empty_is_null } = cut {
                    if block.len() <= line_limit {
                        let value =
                            Some(block.as_slice()).filter(|value| !value.is_empty() || !empty_is_null);
                        let record = NewRecord {
                            key: key.as_deref(),
                            value,
                            headers,
                            timestamp: now,
                        };
                        let full = self.accept(None, &record, tally::place(source, 1));
                        self.make_room(full).await?;
                    }
                    return Ok(());
                }
                let mut at = 0;
                while let Some(full) = self.take_lines(source, &block, &mut at, splitter, now) {
                    self.make_room(full).await?;
                }
                reader.recycle(block);
            }
            Event::End(source, bytes) => {
                if let Cut::Whole { .. } = cut {
                    if bytes > line_limit as u64 {
                        let why =
                            format!("{bytes} bytes are more than the {line_limit} that a record may have");
                        self.refuse(tally::place(source, 1), &why);
                    }
                } else {
                    match splitter.finish() {
                        None => {}
                        Some(Ok(parsed)) => {
                            let place = tally::place(source, parsed.line);
                            let record = parsed.record(now);
                            let full = self.accept(parsed.partition, &record, place);
                            if full.is_some() || self.is_crowded() {
                                self.make_room(full).await?;
                            }
                        }
                        Some(Err(refused)) => {
                            self.refuse(tally::place(source, refused.line), &refused.refusal)
                        }
                    }
                }
            }
            Event::Failed(source, error) => {
                self.failed = true;
                let mut what = format!("cannot read {}", self.sources[source]);
                let rest: Vec<_> = self.sources[source + 1..]
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                if !rest.is_empty() {
                    what += &format!(" (and did not go on to {})", rest.join(", "));
                }
                self.unread = Some(anyhow::Error::new(error).context(what));
            }
        }
        self.progress.at(self.accepted, self.bytes_read);
        Ok(())
    }

    /// Takes in lines until room has to be made, and returns the batch that was full, if one was; or until the block's end.
    /// (Not async itself: what it holds of a record would be moved into the task and out of it.)
    fn take_lines(
        &mut self,
        source: usize,
        block: &[u8],
        at: &mut usize,
        splitter: &mut Splitter<'_>,
        now: i64,
    ) -> Option<Option<Box<Batch>>> {
        while self.left != Some(0) && !self.failed {
            match &splitter.next_record(block, at)? {
                Ok(parsed) => {
                    let place = tally::place(source, parsed.line);
                    let full = self.accept(parsed.partition, &parsed.record(now), place);
                    if full.is_some() || self.is_crowded() {
                        return Some(full);
                    }
                }
                Err(refused) => self.refuse(tally::place(source, refused.line), &refused.refusal),
            }
        }
        None
    }

    /// Takes a record into its batch. Returns the batch that had no room for it, which is to be passed on at once
    /// with [`Self::make_room`]. (Not async itself: it runs for each record, and there is one batch for thousands.)
    #[inline]
    fn accept(&mut self, partition: Option<i32>, record: &NewRecord<'_>, place: u64) -> Option<Box<Batch>> {
        let partition = match partition.or(self.partition) {
            Some(partition) if partition.unsigned_abs() < self.count => partition,
            Some(partition) => {
                let why = format!(
                    "there is no partition {partition}: the topic has {}",
                    partitions(self.count)
                );
                self.refuse(place, &why);
                return None;
            }
            None => {
                let of = Partitions {
                    count: self.count,
                    available: &self.available,
                };
                self.partitioner.partition(record.key, of, clock::random)
            }
        };
        match self.accumulator.append(partition, record, place, clock::now) {
            Err(refused) => {
                self.refuse(place, &refused);
                None
            }
            Ok(full) => {
                self.accepted += 1;
                if let Some(left) = &mut self.left {
                    *left -= 1;
                }
                full
            }
        }
    }

    /// Whether [`Self::make_room`] has anything to do.
    fn is_crowded(&self) -> bool {
        let open = self.accumulator.bytes();
        open > self.max_buffer / 2 || self.tally.bytes_out() + open > self.max_buffer
    }

    /// Submits a full batch, and keeps what was read and is not acknowledged within `--max-buffer`, whatever the number
    /// of partitions. An interrupt ends the wait: then only what was read already comes.
    async fn make_room(&mut self, full: Option<Box<Batch>>) -> anyhow::Result<()> {
        if let Some(batch) = full {
            self.partitioner.batch_is_full(batch.partition);
            self.submit(*batch).await?;
        }
        while self.accumulator.bytes() > self.max_buffer / 2 {
            let Some(batch) = self.accumulator.take_largest() else {
                break;
            };
            self.submit(batch).await?;
        }
        while !self.failed
            && !self.interrupted
            && self.tally.bytes_out() + self.accumulator.bytes() > self.max_buffer
        {
            tokio::select! {
                biased;
                () = self.interrupts.next() => self.interrupted = true,
                Some(outcome) = self.outcomes.recv() => self.settle(outcome),
            }
        }
        Ok(())
    }

    async fn submit(&mut self, batch: Batch) -> anyhow::Result<()> {
        let Batch {
            partition,
            sealed,
            bytes,
            places,
            ..
        } = batch;
        let tag = self.tally.sent(partition, places, bytes);
        let topic = Arc::clone(&self.topic);
        let submit = Submit {
            topic,
            partition,
            batch: sealed,
            tag,
            reply: self.reply.clone(),
        };
        if self.producer.submit(submit).await.is_err() {
            bail!("the producer has ended");
        }
        // Lets the producer put it into the socket before more is read.
        tokio::task::yield_now().await;
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.settle(outcome);
        }
        Ok(())
    }

    fn settle(&mut self, outcome: Outcome) {
        let Outcome {
            tag,
            records,
            result,
            spare,
        } = outcome;
        if let Some(buffer) = spare {
            self.accumulator.recycle(buffer);
        }
        if let Err(error) = &result {
            self.failed |= !error.is_of_a_record();
        }
        self.tally.settled(tag, records, result);
    }

    fn refuse(&mut self, place: u64, why: &dyn std::fmt::Display) {
        self.refused += 1;
        if self.refused <= MAX_PRINTED {
            let text = format!("{}: refused: {why}", self.at(place));
            self.progress.suspend(|| self.output.warn(&text));
        }
    }

    fn at(&self, place: u64) -> String {
        let (source, line) = tally::source_and_line(place);
        match self.sources.get(source) {
            Some(reader::Source::File(path)) => format!("{} line {line}", path.display()),
            _ => format!("line {line}"),
        }
    }

    /// Tells what became of the records.
    fn report(mut self) -> anyhow::Result<Exit> {
        self.progress.finish();
        if self.refused > MAX_PRINTED {
            let more = thousands(self.refused - MAX_PRINTED);
            self.output.warn(&format!("{more} more lines were refused"));
        }
        let acknowledged = self.tally.acknowledged_records();
        let mut text = format!("{} acknowledged", plural(acknowledged, "record"));
        let partitions = self.tally.acknowledged();
        match partitions.len() {
            0 => {}
            1..=MAX_PARTITIONS => {
                let each: Vec<_> = partitions
                    .iter()
                    .map(|(p, n)| format!("{p}: {}", thousands(*n)))
                    .collect();
                text += &format!(" in {} (partition {})", self.topic, each.join(", "));
            }
            many => text += &format!(" in {many} partitions of {}", self.topic),
        }
        if self.refused > 0 {
            text += &format!(", {} refused", plural(self.refused, "line"));
        }
        self.output.note(&text);
        let failed = self.tally.failed();
        if failed > 0 {
            let failures: Vec<_> = self
                .tally
                .failures()
                .iter()
                .map(|f| (f.first, f.last, f.records, f.error.clone()))
                .collect();
            let mut own = 0;
            let mut fatal = None;
            for (first, last, records, error) in failures {
                if error.is_of_a_record() {
                    own += records;
                    if own <= MAX_PRINTED {
                        let place = self.at(first);
                        let error = anyhow::Error::new(error);
                        self.output.warn(&format!("{place}: refused: {error:#}"));
                    }
                } else {
                    let (first, last) = (self.at(first), self.at(last));
                    let where_ = if first == last {
                        first
                    } else {
                        format!("{first} to {last}")
                    };
                    let lost = plural(records, "record");
                    self.output.warn(&format!("{lost} not published ({where_})"));
                    fatal = fatal.or(Some(error));
                }
            }
            let printed = own.min(MAX_PRINTED);
            let all_own = failed - self.tally.not_published();
            if all_own > printed {
                let more = thousands(all_own - printed);
                self.output.warn(&format!("{more} more records were refused"));
            }
            if let Some(error) = fatal {
                return Err(error.into());
            }
        }
        if let Some(error) = self.unread {
            return Err(error);
        }
        Ok(if self.interrupted {
            Exit::Interrupted
        } else if self.failed {
            Exit::Failed
        } else if self.refused + failed > 0 {
            Exit::Refused
        } else {
            Exit::Done
        })
    }
}

fn partitions(count: u32) -> String {
    if count == 1 {
        "one partition (0)".to_owned()
    } else {
        format!("{count} partitions (0 to {})", count - 1)
    }
}
