//! Publishing: the idempotent producer, CloudEvents in binary mode, the order as key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::orders::{Event, SOURCE};
use crate::broker::Cluster;
use crate::produce::partitioner::murmur2_partition;
use crate::produce::producer::{Outcome, Producer, ProducerSettings, Submit};
use crate::record::{BatchBuilder, BatchOptions, Compression, Header, NewRecord};

/// How long an event may take to be acknowledged.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What became of events.
#[derive(Debug)]
pub struct Published {
    /// Their indices in the book, and the offset of each, if it is known.
    pub events: Vec<(usize, Option<i64>)>,
    /// Their partition.
    pub partition: i32,
}

/// The publisher.
#[derive(Debug)]
pub struct Publisher {
    producer: Producer,
    topic: Arc<str>,
    partitions: u32,
    tag: u64,
    sent: BTreeMap<u64, (i32, Vec<usize>)>,
    reply: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

impl Publisher {
    /// One for a topic with so many partitions.
    #[must_use]
    pub fn start(cluster: Cluster, topic: &str, partitions: u32) -> Self {
        let settings = ProducerSettings {
            delivery_timeout: TIMEOUT,
            request_timeout: TIMEOUT,
            compression: Compression::default(),
        };
        let (reply, outcomes) = mpsc::unbounded_channel();
        Self {
            producer: Producer::start(cluster, settings),
            topic: Arc::from(topic),
            partitions,
            tag: 0,
            sent: BTreeMap::new(),
            reply,
            outcomes,
        }
    }

    /// Hands events over, in order; each with its index in the book. `unix` is the time now.
    ///
    /// # Errors
    /// An event that does not fit a batch; a producer that has ended.
    pub async fn publish(&mut self, events: &[(usize, Event)], unix: i64) -> anyhow::Result<()> {
        let mut batches: BTreeMap<i32, (BatchBuilder, Vec<usize>)> = BTreeMap::new();
        for (index, event) in events {
            let place = murmur2_partition(event.key.as_bytes(), self.partitions);
            let (batch, indices) = batches
                .entry(place)
                .or_insert_with(|| (BatchBuilder::new(BatchOptions::default()), Vec::new()));
            append(batch, event, unix)?;
            indices.push(*index);
        }
        for (partition, (batch, indices)) in batches {
            self.tag += 1;
            self.sent.insert(self.tag, (partition, indices));
            let submit = Submit {
                topic: Arc::clone(&self.topic),
                partition,
                batch: batch.seal(),
                tag: self.tag,
                reply: self.reply.clone(),
            };
            let submitted = self.producer.submit(submit).await;
            submitted.map_err(|_| anyhow::anyhow!("the producer has ended"))?;
        }
        Ok(())
    }

    /// What became of events that were handed over.
    ///
    /// # Errors
    /// They were given up.
    pub async fn next(&mut self) -> anyhow::Result<Published> {
        loop {
            let Some(outcome) = self.outcomes.recv().await else {
                // Not while this holds a sender.
                std::future::pending::<()>().await;
                continue;
            };
            if let Some(published) = self.settled(outcome)? {
                return Ok(published);
            }
        }
    }

    fn settled(&mut self, outcome: Outcome) -> anyhow::Result<Option<Published>> {
        let base = outcome.result?;
        let Some((partition, indices)) = self.sent.get(&outcome.tag) else {
            return Ok(None);
        };
        let part = outcome.records.start as usize..outcome.records.end as usize;
        let whole = part.end == indices.len();
        let events = indices.get(part).unwrap_or_default();
        let offset = |at: usize| (base >= 0).then(|| base.saturating_add(i64::try_from(at).unwrap_or(0)));
        let published = Published {
            events: events
                .iter()
                .enumerate()
                .map(|(at, index)| (*index, offset(at)))
                .collect(),
            partition: *partition,
        };
        if whole {
            self.sent.remove(&outcome.tag);
        }
        Ok(Some(published))
    }
}

/// Appends an event as a CloudEvent in binary mode.
fn append(batch: &mut BatchBuilder, event: &Event, unix: i64) -> anyhow::Result<()> {
    let time = chrono::DateTime::from_timestamp_millis(unix).unwrap_or_default();
    let time = time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let id = event.id();
    let attributes: [(&str, &str); 7] = [
        ("ce_specversion", "1.0"),
        ("ce_id", &id),
        ("ce_source", SOURCE),
        ("ce_type", event.kind),
        ("ce_subject", &event.key),
        ("ce_time", &time),
        ("content-type", "application/json"),
    ];
    let headers = attributes.map(|(name, value)| -> Header<'_> { (name.as_bytes(), Some(value.as_bytes())) });
    batch.append(&NewRecord {
        key: Some(event.key.as_bytes()),
        value: Some(&event.data),
        headers: &headers,
        timestamp: unix,
    })?;
    Ok(())
}
