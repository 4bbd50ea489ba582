//! The log followed as it grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::reader::{Answer, Fault, LogRecord, Reader};
use super::LogError;
use crate::broker::backoff::Backoff;
use crate::clock;
use crate::group::member::Lost;

/// Answers that wait, beside the one being worked on.
const AHEAD: usize = 2;
/// How long a broker may wait for a record. A living group writes every second.
const WAIT: Duration = Duration::from_secs(5);
/// Delays after errors.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What became of the log since.
#[derive(Debug)]
pub enum Tailed {
    /// Records, in order; none, if the broker has waited for some in vain.
    Read {
        /// The records.
        records: Vec<LogRecord>,
        /// Where the log begins.
        start: i64,
        /// The end of what may be read.
        end: i64,
    },
    /// The place in the log is lost; the records that follow begin at `restart_at`.
    Lost {
        /// How.
        lost: Lost,
        /// The log's first offset.
        restart_at: i64,
    },
    /// The log cannot be read; nothing follows.
    Failed(LogError),
}

/// The least time between two fetches at the log's end: without it, each append would wake every member by itself.
#[derive(Debug, Clone)]
pub struct Pace(Arc<AtomicU64>);

impl Pace {
    fn new(pace: Duration) -> Self {
        let this = Self(Arc::default());
        this.set(pace);
        this
    }

    /// From the next fetch on.
    pub fn set(&self, pace: Duration) {
        let millis = u64::try_from(pace.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A handle to the task that follows the log; the task ends with it.
#[derive(Debug)]
pub struct Tail {
    tailed: mpsc::Receiver<Tailed>,
    pace: Pace,
}

impl Tail {
    /// The pace to begin with.
    pub const PACE: Duration = Duration::from_millis(50);

    pub(super) fn start(reader: Reader) -> Self {
        let (send, tailed) = mpsc::channel(AHEAD);
        let pace = Pace::new(Self::PACE);
        tokio::spawn(follow(reader, send, pace.clone()));
        Self { tailed, pace }
    }

    /// What comes next; `None` after a failure.
    pub async fn next(&mut self) -> Option<Tailed> {
        self.tailed.recv().await
    }

    /// How often it may fetch.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace.clone()
    }
}

async fn follow(mut reader: Reader, send: mpsc::Sender<Tailed>, pace: Pace) {
    let fresh = || Backoff::new(RETRY.0, RETRY.1, clock::random());
    let mut backoff = fresh();
    let mut not_before = clock::now();
    let mut troubled = false;
    loop {
        tokio::select! {
            () = clock::sleep_until(Some(not_before)) => {}
            () = send.closed() => return,
        }
        let began = clock::now();
        let answer = tokio::select! {
            answer = reader.fetch(WAIT) => answer,
            // The connection stays: its next request waits behind this one's answer.
            () = send.closed() => return,
        };
        let tailed = match answer {
            Ok(Answer::Read { records, start, end }) => {
                if std::mem::take(&mut troubled) {
                    tracing::info!("the group's log can be read again");
                    backoff = fresh();
                }
                if !records.is_empty() && reader.position() >= end {
                    not_before = began + pace.get();
                }
                Tailed::Read { records, start, end }
            }
            Ok(Answer::Lost { lost, restart_at }) => Tailed::Lost { lost, restart_at },
            Err(Fault::Passing(error)) => {
                if !std::mem::replace(&mut troubled, true) {
                    tracing::warn!("the group's log cannot be read at the moment: {}", error.chain());
                }
                not_before = clock::now() + backoff.next().unwrap_or(RETRY.1);
                continue;
            }
            Err(Fault::Final(error)) => {
                drop(send.send(Tailed::Failed(error)).await);
                return;
            }
        };
        if send.send(tailed).await.is_err() {
            return;
        }
    }
}
