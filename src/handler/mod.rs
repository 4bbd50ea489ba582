//! What a record is given to: an HTTP server, a long-lived worker, or a command of its own.
//!
//! A run of a handler is a future: it ends with an [`Answer`], whatever happens. It never waits longer than the delivery's
//! deadline (unless told to, [`http::OnTimeout::Wait`]), and never ends while a process that it started for the record still runs.
//! In reading order:
//!
//! - [`outcome`]: what an HTTP answer means; [`retry_after`]: and when to come back;
//! - [`target`]: the URL; [`headers`]: what goes to it beside the data; [`credentials`];
//! - `answer`: an answer's bytes; [`connect`] and `pool`: connections; [`http`]: `--http`;
//! - [`process`]: processes and their groups; [`protocol`]: a worker's lines; [`worker`]: `--exec`;
//! - [`command`], which is `--exec-each`.

mod answer;
pub mod command;
pub mod connect;
pub mod credentials;
pub mod headers;
pub mod http;
pub mod outcome;
mod pool;
pub mod process;
pub mod protocol;
pub mod retry_after;
pub mod target;
pub mod worker;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::event::{self, Event, EventError};
use crate::record::OwnedRecord;

/// The most that is kept of what a handler said, in bytes: the last 2 KiB of stderr, and what is put before them.
pub const MAX_EXCERPT: usize = (2 << 10) + 512;

/// One run of a handler on one record.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The record's topic.
    pub topic: Arc<str>,
    /// Its id; zeros if the brokers do not tell.
    pub topic_id: [u8; 16],
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The group it is consumed by.
    pub group: Arc<str>,
    /// The token under which the partition is owned: higher with each owner.
    pub token: u64,
    /// Key, value (none is a tombstone), headers and timestamp.
    pub record: Arc<OwnedRecord>,
    /// 1 for the first.
    pub attempt: u32,
    /// From now until the answer has to be complete.
    pub deadline: Duration,
    /// An earlier owner may have delivered it already.
    pub redelivered: bool,
    /// Of a dead letter that is replayed: what it was.
    pub origin: Option<Origin>,
}

/// The record that a replayed dead letter was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its topic.
    pub topic: Arc<str>,
    /// The topic's id; zeros if unknown.
    pub topic_id: [u8; 16],
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// How often it was replayed, this time included.
    pub replays: u32,
}

impl Delivery {
    /// The event in the record.
    ///
    /// # Errors
    /// If it claims to be a structured event and is none.
    pub fn event(&self) -> Result<Event<'_>, EventError> {
        Event::read(self.record.headers().iter(), self.record.value())
    }

    /// See [`event::idempotency_key`].
    #[must_use]
    pub fn idempotency_key(&self, event: &Event<'_>) -> event::IdempotencyKey {
        let origin = match &self.origin {
            Some(origin) => event::Origin {
                topic_id: origin.topic_id,
                topic: &origin.topic,
                partition: origin.partition,
                offset: origin.offset,
            },
            None => event::Origin {
                topic_id: self.topic_id,
                topic: &self.topic,
                partition: self.partition,
                offset: self.offset,
            },
        };
        event::idempotency_key(event, &origin)
    }

    /// `<token>.<attempt>`: of two of one record, the higher is the younger.
    #[must_use]
    pub fn fence(&self) -> String {
        format!("{}.{}", self.token, self.attempt)
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it means.
    pub outcome: Outcome,
    /// "422", "exit 1", "retry": what it was, in a word or two. None if there was no answer.
    pub status: Option<Arc<str>>,
    /// Why, for people: what the handler said or what went wrong, at most [`MAX_EXCERPT`] bytes. May hold line breaks.
    pub excerpt: String,
}

impl Answer {
    /// Done, with nothing to be said about it.
    #[must_use]
    pub const fn done() -> Self {
        Self {
            outcome: Outcome::Done,
            status: None,
            excerpt: String::new(),
        }
    }

    /// Without an answer of the handler's.
    pub(crate) fn without(outcome: Outcome, why: impl Into<String>) -> Self {
        Self {
            outcome,
            status: None,
            excerpt: why.into(),
        }
    }
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The record is finished.
    Done,
    /// The record is finished: the handler has no use for it.
    Skip,
    /// To be tried again.
    Retry {
        /// What the answer tells about the target.
        sign: Sign,
        /// The handler's own wish for this record.
        after: Option<Duration>,
        /// `Retry-After` of 429 and 503: nothing should be started for so long. Without an upper bound yet.
        pause: Option<Duration>,
    },
    /// Without an answer: it may still run.
    Lost {
        /// It does not run any more: its process was killed and reaped.
        reaped: bool,
    },
    /// The target was not reached, or is the wrong one.
    Hold,
    /// Refused for good.
    Reject,
    /// Cancelled, or never begun: nothing is known and nothing should be spent.
    Aborted,
}

impl Outcome {
    /// To be tried again, without a wish when.
    #[must_use]
    pub const fn retry(sign: Sign) -> Self {
        Self::Retry {
            sign,
            after: None,
            pause: None,
        }
    }
}

/// What an answer that asks for another attempt tells about the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The handler's own answer.
    Own,
    /// 429.
    Busy,
    /// 503.
    Unavailable,
    /// Any other 5xx.
    Broken,
}

/// What records are given to; cheap to clone.
#[derive(Clone)]
pub enum Handler {
    /// `--http`
    Http(http::Http),
    /// `--exec`
    Worker(worker::Pool),
    /// `--exec-each`
    Command(command::Commands),
}

impl Handler {
    /// Returns when the handler can take events, however long that takes.
    pub async fn ready(&self) {
        match self {
            Self::Http(http) => http.ready().await,
            Self::Worker(pool) => pool.ready().await,
            Self::Command(_) => {}
        }
    }

    /// Runs it on one record. When `cancel` ends first, the run is ended: over HTTP the connection is closed, a process is killed and
    /// reaped; the answer is then [`Outcome::Aborted`]. Dropping the future does the same, without telling when it has been done.
    pub fn run<C>(&self, delivery: Delivery, cancel: C) -> impl Future<Output = Answer> + Send + use<C>
    where
        C: Future<Output = ()> + Send,
    {
        match self.clone() {
            Self::Http(http) => http.run(delivery, cancel).left_future(),
            Self::Worker(pool) => pool.run(delivery, cancel).left_future().right_future(),
            // It starts a process: one more allocation is nothing beside that.
            Self::Command(commands) => {
                let run = Box::pin(commands.run(delivery, cancel));
                run.right_future().right_future()
            }
        }
    }

    /// Ends what runs for it, within that time: idle connections and workers. Runs in flight should have ended before.
    pub async fn stop(&self, within: Duration) {
        match self {
            Self::Http(http) => http.stop(),
            Self::Worker(pool) => pool.stop(within).await,
            Self::Command(_) => {}
        }
    }
}

/// Cut to [`MAX_EXCERPT`] at a character's boundary.
fn bounded(mut text: String) -> String {
    let mut end = text.len().min(MAX_EXCERPT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn record(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Arc<OwnedRecord> {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), *value))
            .collect();
        let mut record = OwnedRecord::new(key, value, &headers);
        record.timestamp = 1_700_000_000_000;
        Arc::new(record)
    }

    /// With other headers.
    pub(crate) fn with(headers: &[(&str, Option<&[u8]>)]) -> Delivery {
        Delivery {
            record: record(Some(b"k 1"), Some(br#"{"a":1}"#), headers),
            ..delivery()
        }
    }

    /// With another value.
    pub(crate) fn holding(value: Option<&[u8]>) -> Delivery {
        Delivery {
            record: record(Some(b"k 1"), value, &[]),
            ..delivery()
        }
    }

    /// A record with a key and JSON, at its second attempt.
    pub(crate) fn delivery() -> Delivery {
        Delivery {
            topic: "orders".into(),
            topic_id: [7; 16],
            partition: 3,
            offset: 12,
            group: "billing".into(),
            token: 9,
            record: record(Some(b"k 1"), Some(br#"{"a":1}"#), &[]),
            attempt: 2,
            deadline: Duration::from_secs(30),
            redelivered: false,
            origin: None,
        }
    }
}
