//! A member at work: its log read and written, and what the [member](super::member) says performed.
//!
//! One task owns the member. [`Group`] is the handle of whoever does the work: what it has to do comes as [`Event`]s, what
//! it has done goes back through the handle.

mod notes;
mod positions;
mod settings;
mod starting;
mod task;
mod topics;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

pub use settings::{GroupSettings, StartFrom, Topics, this_host};

use super::log::{Log, LogError};
use super::mirror::Marker;
use super::record::{Note, PartitionId, Token};
use crate::broker::Error;
use crate::broker::cluster::Cluster;
use crate::broker::commits;
use crate::clock;
use crate::progress::Progress;

/// Things told to the task that it has not heard yet.
const INBOX: usize = 256;
/// Events that wait in the channel; behind it they wait in the task.
const EVENTS: usize = 64;

/// What is to be done, in this order. Partitions are named with their token: an answer is for that token alone.
#[derive(Debug)]
pub enum Event {
    /// From now on records of it may be handled, from `progress.next` on, while the [lease](Group::lease) lasts. No
    /// handler of an earlier start runs any more.
    Start {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
        /// From where.
        progress: Progress,
        /// Whether nobody can have begun any of it that the progress does not tell of: it was given up in order, or
        /// never owned.
        clean: bool,
    },
    /// A report with this partition was read back. Only told if it was asked for.
    Reported {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
        /// What the group knows now.
        progress: Progress,
    },
    /// An operator paused it: begin nothing.
    Pause {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
    },
    /// Go on after a pause.
    Unpause {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
    },
    /// An operator resumed the group, or something that this member owns, whether or not it was paused: whatever waits
    /// for a person's word goes on.
    Resumed,
    /// An operator took this record for finished: it is not to be handled (again), and is reported as done.
    Skip {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
        /// The record's offset.
        offset: i64,
    },
    /// Begin nothing more; when what is under way is over, tell the last [progress](Group::progress) and then
    /// [`Group::ended`].
    Drain {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
    },
    /// Stop what is under way, then as in a drain. It may follow a drain.
    Cancel {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
    },
    /// All that falls to this member has a position and was started. Told once after each time that it joined.
    Ready {
        /// How many partitions it owns.
        owned: usize,
        /// How many the topics have that it subscribes to.
        total: usize,
    },
    /// The group has removed this member, which joins again by itself.
    Removed {
        /// For people.
        why: String,
    },
    /// It has left; nothing follows.
    Left,
    /// It cannot go on; nothing follows.
    Failed(Failure),
}

/// Why a member cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The group's log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The topics that it subscribes to.
    #[error("the group's topics cannot be looked up")]
    Topics(#[source] Error),
    /// A first position.
    #[error("the first position in partition {} of topic {} cannot be found", .partition.1, .partition.0)]
    Position {
        /// Where.
        partition: PartitionId,
        /// Why.
        source: Error,
    },
    /// A rule of the group.
    #[error("{0}")]
    Member(String),
}

/// Whether work may be begun: cheap to clone and to ask, from any thread.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Milliseconds of the lease clock; 0 without a lease.
    until: Arc<AtomicU64>,
    /// How long it takes to cancel what is under way, in milliseconds.
    cancel: u64,
}

impl Lease {
    fn new(cancel: u64) -> Self {
        Self {
            until: Arc::default(),
            cancel,
        }
    }

    /// One for tests, which lasts if it is there.
    #[cfg(test)]
    pub(crate) fn of_test(held: bool) -> Self {
        let lease = Self::new(0);
        lease.set(if held { u64::MAX } else { 0 });
        lease
    }

    fn set(&self, until: u64) {
        self.until.store(until, Ordering::Release);
    }

    /// Whether something may be begun now: if it had to be cancelled, it would be over when the lease is.
    #[must_use]
    pub fn may_start(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until > 0 && clock::lease_millis() + self.cancel < until
    }

    /// How long until nothing may be begun and what runs is to be cancelled, in milliseconds; 0 without a lease.
    #[must_use]
    pub fn left(&self) -> u64 {
        let until = self.until.load(Ordering::Acquire);
        until.saturating_sub(clock::lease_millis() + self.cancel)
    }
}

/// What is told to the task.
#[derive(Debug)]
enum Told {
    Progress(PartitionId, Token, Progress),
    Gap(PartitionId, Token, Range<i64>),
    CutBack(PartitionId, Token, i64),
    Ended(PartitionId, Token),
    Note(Note),
}

/// A handle to a member. Dropped, the member stops at once, as if the process had died.
#[derive(Debug)]
pub struct Group {
    told: mpsc::Sender<Told>,
    leave: Arc<Notify>,
    lease: Lease,
    living: Arc<AtomicUsize>,
}

impl Group {
    /// How many members the group has, as far as this one has read; at least one.
    #[must_use]
    pub fn living(&self) -> usize {
        self.living.load(Ordering::Relaxed).max(1)
    }

    /// To be asked before anything is begun.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// How far a partition's work is: all of it.
    pub async fn progress(&self, partition: PartitionId, token: Token, progress: Progress) {
        self.tell(Told::Progress(partition, token, progress)).await;
    }

    /// These offsets fell off the topic's start before they were handled. [`Self::progress`] has to say that they are
    /// done as well.
    pub async fn gap(&self, partition: PartitionId, token: Token, lost: Range<i64>) {
        self.tell(Told::Gap(partition, token, lost)).await;
    }

    /// The topic was cut back to this offset, behind which it was read already. The partition is reset through the
    /// log: this ownership ends by a [`Event::Cancel`], and another one starts there.
    pub async fn cut_back(&self, partition: PartitionId, token: Token, to: i64) {
        self.tell(Told::CutBack(partition, token, to)).await;
    }

    /// Nothing of this ownership runs any more, and its last progress was told: the answer to [`Event::Drain`] and
    /// [`Event::Cancel`], once.
    pub async fn ended(&self, partition: PartitionId, token: Token) {
        self.tell(Told::Ended(partition, token)).await;
    }

    /// What holds this member's work back now, for people: all of it, in place of what was told before. It is written to
    /// the log when it differs, now and then.
    pub async fn note(&self, note: Note) {
        self.tell(Told::Note(note)).await;
    }

    /// Leaves the group: what it owns is drained and handed over, then comes [`Event::Left`].
    pub fn leave(&self) {
        self.leave.notify_one();
    }

    /// A task that has ended has said so in an event.
    async fn tell(&self, told: Told) {
        drop(self.told.send(told).await);
    }
}

/// Becomes a member: opens the log (and makes it, if the group is new), looks up the topics, and goes on in a task.
///
/// # Errors
/// A log that cannot be made, used or believed; topics that this user may not read; brokers that cannot be reached.
pub async fn start(
    cluster: Cluster,
    settings: GroupSettings,
) -> Result<(Group, mpsc::Receiver<Event>), Failure> {
    let log = Log::open(&cluster, &settings.group, true).await?;
    for warning in log.warnings() {
        tracing::warn!(
            "topic {}, the log of group {}: {warning}",
            log.topic(),
            log.group()
        );
    }
    let (begin, end) = log.bounds().await?;
    if begin == end && !settings.rebuild {
        refuse_a_forgotten_group(&cluster, &log).await?;
    }
    let topics = topics::Watched::look(&cluster, &settings.topics, log.topic()).await?;
    let tail = log.tail_from(begin);
    let (tell, told) = mpsc::channel(INBOX);
    let (send, events) = mpsc::channel(EVENTS);
    let lease = Lease::new(settings.cancel());
    let leave = Arc::new(Notify::new());
    let group = Group {
        told: tell,
        leave: Arc::clone(&leave),
        lease: lease.clone(),
        living: Arc::default(),
    };
    let living = Arc::clone(&group.living);
    let task = task::Task::new(cluster, settings, log, topics, (lease, living));
    tokio::spawn(task.run(tail, told, leave, send));
    Ok((group, events))
}

/// A new log, and offsets in Kafka's own group that barnabas committed: the log was lost, and with it what the group
/// has done.
async fn refuse_a_forgotten_group(cluster: &Cluster, log: &Log) -> Result<(), Failure> {
    let committed = match commits::committed(cluster, log.group(), None).await {
        Ok(committed) => committed,
        // Without the right to look there, the mirror has not written there either.
        Err(error) if error.is_unauthorised() => return Ok(()),
        Err(error) => return Err(LogError::Broker(error).into()),
    };
    let marker = committed
        .values()
        .find_map(|committed| committed.metadata.parse::<Marker>().ok());
    match marker {
        None => Ok(()),
        Some(marker) => Err(LogError::Forgotten {
            group: log.group().to_owned(),
            topic: log.topic().to_owned(),
            log: marker.log,
        }
        .into()),
    }
}
