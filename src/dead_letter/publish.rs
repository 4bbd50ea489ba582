//! Single records published through the idempotent producer, and their acknowledgements awaited.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::envelope::Envelope;
use crate::broker::Error;
use crate::produce::producer::{Outcome, Producer, Submit};
use crate::record::Compression;

/// A record to be published.
pub(super) struct Outgoing<'a> {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) record: Envelope<'a>,
    pub(super) compression: Compression,
}

/// Publishes records, each in a batch of its own, so that a refusal is of one record; in order in each partition. Tells of
/// each the offset (−1 if an earlier try was acknowledged without one), or why it was given up.
pub(super) async fn publish(
    producer: &Producer,
    outgoing: Vec<Outgoing<'_>>,
    timestamp: i64,
) -> Vec<Result<i64, Error>> {
    let mut results: Vec<Option<Result<i64, Error>>> = Vec::with_capacity(outgoing.len());
    let (reply, mut outcomes) = mpsc::unbounded_channel();
    for (tag, one) in outgoing.into_iter().enumerate() {
        let batch = match one.record.batch(timestamp, one.compression) {
            Ok(batch) => batch,
            Err(error) => {
                results.push(Some(Err(Error::Unencodable(error.to_string()))));
                continue;
            }
        };
        let submit = Submit {
            topic: one.topic,
            partition: one.partition,
            batch,
            tag: tag as u64,
            reply: reply.clone(),
        };
        let gone = producer.submit(submit).await.is_err();
        results.push(gone.then_some(Err(Error::Closed)));
    }
    drop(reply);
    while results.iter().any(Option::is_none) {
        // Without another word the producer has ended.
        let Some(Outcome { tag, result, .. }) = outcomes.recv().await else {
            break;
        };
        if let Some(slot) = usize::try_from(tag).ok().and_then(|tag| results.get_mut(tag)) {
            *slot = Some(result);
        }
    }
    results
        .into_iter()
        .map(|result| result.unwrap_or(Err(Error::Closed)))
        .collect()
}

/// Publishes one.
pub(super) async fn publish_one(
    producer: &Producer,
    outgoing: Outgoing<'_>,
    timestamp: i64,
) -> Result<i64, Error> {
    let results = publish(producer, vec![outgoing], timestamp).await;
    results.into_iter().next().unwrap_or(Err(Error::Closed))
}
