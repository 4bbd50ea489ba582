//! The log followed as it grows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::LogError;
use super::reader::{Answer, Fault, LogRecord, Reader};
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
pub struct Pace(Arc<watch::Sender<Duration>>);

impl Pace {
    /// From now on.
    pub fn set(&self, pace: Duration) {
        self.0
            .send_if_modified(|known| std::mem::replace(known, pace) != pace);
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
        let (pace, paced) = watch::channel(Self::PACE);
        tokio::spawn(follow(reader, send, paced));
        let pace = Pace(Arc::new(pace));
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

async fn follow(mut reader: Reader, send: mpsc::Sender<Tailed>, mut pace: watch::Receiver<Duration>) {
    let fresh = || Backoff::new(RETRY.0, RETRY.1, clock::random());
    let mut backoff = fresh();
    let mut troubled = false;
    // Since when the pace or a delay is waited for.
    let mut since = clock::now();
    let mut delay = Some(Duration::ZERO);
    // Where the log ends is told at once the first time.
    let mut wait = Duration::ZERO;
    loop {
        let due = since + delay.unwrap_or(*pace.borrow_and_update());
        // A sleep of no time would be one of a millisecond.
        if due > clock::now() {
            tokio::select! {
                () = clock::sleep_until(Some(due)) => {}
                // It may be faster now; or the handle is gone, and nobody sets it any more.
                changed = pace.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = send.closed() => return,
            }
        }
        let began = clock::now();
        let answer = tokio::select! {
            answer = reader.fetch(wait) => answer,
            // The connection stays: its next request waits behind this one's answer.
            () = send.closed() => return,
        };
        let tailed = match answer {
            Ok(Answer::Read { records, start, end }) => {
                if std::mem::take(&mut troubled) {
                    tracing::info!("the group's log can be read again");
                    backoff = fresh();
                }
                wait = WAIT;
                let at_end = !records.is_empty() && reader.position() >= end;
                (since, delay) = (began, (!at_end).then_some(Duration::ZERO));
                Tailed::Read { records, start, end }
            }
            Ok(Answer::Lost { lost, restart_at }) => {
                (delay, wait) = (Some(Duration::ZERO), Duration::ZERO);
                Tailed::Lost { lost, restart_at }
            }
            Err(Fault::Passing(error)) => {
                if !std::mem::replace(&mut troubled, true) {
                    tracing::warn!("the group's log cannot be read at the moment: {}", error.chain());
                }
                (since, delay) = (clock::now(), backoff.next());
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
