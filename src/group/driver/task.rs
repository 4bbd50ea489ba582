//! The one task that owns the member.

mod jobs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::notes::Notes;
use super::positions::{Position, Wants};
use super::starting::Starting;
use super::topics::{REPLAYS, Watched};
use super::{Event, Failure, GroupSettings, Lease, Told};
use crate::broker::cluster::Cluster;
use crate::broker::epochs::EpochEnd;
use crate::broker::error::Error;
use crate::broker::metadata::View;
use crate::clock;
use crate::group::log::{Log, LogError, Pace, Tail, Tailed};
use crate::group::member::{Action, AppendId, Member, Now};
use crate::group::mirror::Mirror;
use crate::group::record::{PartitionId, Token};
use crate::group::rules::Rules;

/// How many milliseconds a cut that a fetch came upon is held back: the topic may be another one now, which is told by
/// its metadata.
const RESET_DELAY: u64 = 1_000;

/// Work that has come to an end.
enum Done {
    Appended(AppendId, Result<i64, Error>),
    /// A reset of this driver's own; it is read back or written again.
    Reset(Result<i64, Error>),
    Noted(Result<i64, Error>),
    Found(Vec<(Wants, Position)>),
    Looked(Result<View, Error>),
    /// Only for topics of replays.
    Glanced(Result<View, Error>),
    Truncated(Result<(), LogError>),
    Committed(Result<BTreeMap<PartitionId, Result<(), Error>>, Error>),
    Checked(
        BTreeMap<PartitionId, i32>,
        Result<BTreeMap<PartitionId, EpochEnd>, Error>,
    ),
}

/// A topic that was cut back behind what the group has done.
struct Cut {
    token: Token,
    to: i64,
    /// When its reset is to be written (monotonic milliseconds).
    at: u64,
}

pub(super) struct Task {
    cluster: Cluster,
    settings: GroupSettings,
    log: Log,
    member: Member,
    lease: Lease,
    living: Arc<AtomicUsize>,
    mirror: Mirror,
    topics: Watched,
    /// When metadata is asked for again (monotonic milliseconds); none while it is asked for.
    next_look: Option<u64>,
    /// Likewise for the topics of replays that are not there.
    next_glance: Option<u64>,
    jobs: JoinSet<Done>,
    appending: BTreeSet<AppendId>,
    /// First positions that are to be found, each not before a time (monotonic milliseconds).
    wanted: Vec<(Wants, u64)>,
    starting: Starting,
    cuts: BTreeMap<PartitionId, Cut>,
    notes: Notes,
    /// When the log may be cut again (monotonic milliseconds): later, without the right to do it.
    truncate_from: u64,
    /// Events on their way out.
    ready: VecDeque<Event>,
    /// It has left, and only the mirror is to be told.
    left: bool,
    /// Nothing follows.
    over: bool,
}

fn now() -> Now {
    Now {
        mono: clock::mono_millis(),
        lease: clock::lease_millis(),
    }
}

impl Task {
    pub(super) fn new(
        cluster: Cluster,
        settings: GroupSettings,
        log: Log,
        topics: Watched,
        (lease, living): (Lease, Arc<AtomicUsize>),
    ) -> Self {
        let now = now();
        let of_member = settings.of_member(clock::unix_millis());
        Self {
            member: Member::new(of_member, clock::random(), Rules::all(), now),
            mirror: Mirror::new(log.id_text(), now.mono),
            next_look: Some(now.mono + topics.period()),
            next_glance: Some(now.mono + REPLAYS),
            cluster,
            settings,
            log,
            lease,
            living,
            topics,
            jobs: JoinSet::new(),
            appending: BTreeSet::new(),
            wanted: Vec::new(),
            starting: Starting::default(),
            cuts: BTreeMap::new(),
            notes: Notes::default(),
            truncate_from: 0,
            ready: VecDeque::new(),
            left: false,
            over: false,
        }
    }

    pub(super) async fn run(
        mut self,
        mut tail: Tail,
        mut told: mpsc::Receiver<Told>,
        leave: Arc<Notify>,
        events: mpsc::Sender<Event>,
    ) {
        let pace = tail.pace();
        self.tell_topics();
        loop {
            self.work();
            if self.left && !self.over {
                self.commit_last().await;
                self.ready.push_back(Event::Left);
                self.over = true;
            }
            if self.over {
                self.lease.set(0);
                if self.ready.is_empty() {
                    return;
                }
            }
            let wake = self.next_wake();
            tokio::select! {
                room = events.reserve(), if !self.ready.is_empty() => match (room, self.ready.pop_front()) {
                    (Ok(room), Some(event)) => room.send(event),
                    // Nobody works any more.
                    _ => return,
                },
                () = events.closed(), if self.ready.is_empty() => return,
                tailed = tail.next(), if !self.over => self.tailed(tailed, &pace),
                news = told.recv() => match news {
                    // Whoever tells must not wait for one that has ended while its last events are not taken yet.
                    Some(_) if self.over => {}
                    Some(news) => {
                        self.told(news);
                        while let Ok(news) = told.try_recv() {
                            self.told(news);
                        }
                    }
                    None => return,
                },
                () = leave.notified(), if !self.over => self.member.leave(now()),
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    // A job neither panics nor is aborted before the task is.
                    if let Ok(done) = done {
                        self.done(done);
                    }
                }
                () = clock::sleep_until(Some(wake)), if !self.over => {}
            }
        }
    }

    fn next_wake(&self) -> Instant {
        let now = now();
        let own = [
            self.next_look,
            self.next_glance,
            self.mirror.next_wake(),
            self.notes.next_wake(),
        ];
        let wanted = self.wanted.iter().map(|(_, at)| *at);
        let cuts = self.cuts.values().map(|cut| cut.at);
        let others = own.into_iter().flatten().chain(wanted).chain(cuts).min();
        let wake = self.member.next_wake(now).min(others.unwrap_or(u64::MAX));
        // What is due now was done just now, as far as it could be.
        clock::now() + Duration::from_millis(wake.saturating_sub(now.mono).max(1))
    }

    fn fail(&mut self, failure: Failure) {
        if !self.over {
            self.lease.set(0);
            self.ready.push_back(Event::Failed(failure));
            self.over = true;
        }
    }

    /// Does what is due.
    fn work(&mut self) {
        if self.over {
            return;
        }
        loop {
            self.member.tick(now());
            let mut again = false;
            for action in self.member.take_actions() {
                again |= self.perform(action);
            }
            if !again {
                break;
            }
        }
        self.living
            .store(self.member.state().members.len(), Ordering::Relaxed);
        let mono = clock::mono_millis();
        self.find(mono);
        self.check();
        self.reset(mono);
        self.look(mono);
        self.glance(mono);
        self.commit(mono);
        self.write_note(mono);
    }

    /// True if the member was told something.
    fn perform(&mut self, action: Action) -> bool {
        match action {
            Action::Append { id, payload } => self.append(id, payload),
            Action::FindPosition {
                partition,
                token,
                late,
            } => {
                let wants = Wants {
                    partition,
                    token,
                    late,
                };
                self.wanted.push((wants, 0));
            }
            Action::Start {
                partition,
                token,
                progress,
                clean,
            } => {
                let view = self.cluster.view();
                let started = self.starting.start(&view, partition, token, (progress, clean));
                self.ready.extend(started);
            }
            Action::Reported {
                partition,
                token,
                progress,
            } => self.ready.push_back(Event::Reported {
                partition,
                token,
                progress,
            }),
            Action::Pause { partition, token } => {
                let event = Event::Pause {
                    partition: partition.clone(),
                    token,
                };
                self.ready.extend(self.starting.follow(&partition, token, event));
            }
            Action::Unpause { partition, token } => {
                let event = Event::Unpause {
                    partition: partition.clone(),
                    token,
                };
                self.ready.extend(self.starting.follow(&partition, token, event));
            }
            Action::Resumed => self.ready.push_back(Event::Resumed),
            Action::Skip {
                partition,
                token,
                offset,
            } => {
                let event = Event::Skip {
                    partition: partition.clone(),
                    token,
                    offset,
                };
                self.ready.extend(self.starting.follow(&partition, token, event));
            }
            Action::Drain { partition, token } => {
                if self.starting.end(&partition, token) {
                    self.member.ended(&partition, token);
                    return true;
                }
                self.ready.push_back(Event::Drain { partition, token });
            }
            Action::Cancel { partition, token } => {
                if self.starting.end(&partition, token) {
                    self.member.ended(&partition, token);
                    return true;
                }
                self.ready.push_back(Event::Cancel { partition, token });
            }
            Action::Lease { until } => self.lease.set(until),
            Action::Truncate { before } => self.truncate(before),
            Action::Joined { member } => {
                tracing::info!("joined group {} as {member}", self.settings.group);
            }
            Action::Ready => self.tell_ready(),
            Action::Removed { why } => self.ready.push_back(Event::Removed { why }),
            Action::Left => self.left = true,
            Action::Warn(what) => tracing::warn!("group {}: {what}", self.settings.group),
            Action::Fatal(why) => self.fail(Failure::Member(why)),
        }
        false
    }

    fn append(&mut self, id: AppendId, payload: Vec<u8>) {
        // A repeat while the former try is under way would bring nothing.
        if !self.appending.insert(id) {
            return;
        }
        let log = self.log.clone();
        self.jobs
            .spawn(async move { Done::Appended(id, log.append(&payload).await) });
    }

    fn truncate(&mut self, before: i64) {
        if clock::mono_millis() < self.truncate_from {
            return;
        }
        let log = self.log.clone();
        self.jobs
            .spawn(async move { Done::Truncated(log.delete_before(before).await) });
    }

    fn tell_ready(&mut self) {
        let state = self.member.state();
        let me = self.member.id();
        let subscribed = state.members.get(me).map(|info| &info.topics);
        let counts = subscribed.into_iter().flatten().map(|topic| {
            let info = state.topics.get(topic);
            info.map_or(0, |info| usize::try_from(info.partitions).unwrap_or(0))
        });
        let ready = Event::Ready {
            owned: state.owned_by(me).count(),
            total: counts.sum(),
        };
        self.ready.push_back(ready);
    }

    fn tell_topics(&mut self) {
        if let Some(topics) = self.topics.topics() {
            self.member.topics_seen(topics.clone());
        }
    }

    fn tailed(&mut self, tailed: Option<Tailed>, pace: &Pace) {
        match tailed {
            Some(Tailed::Read { records, start, end }) => {
                let now = now();
                if !records.is_empty() {
                    self.mirror.touch();
                }
                for record in records {
                    self.member
                        .read(now, record.at, record.timestamp, &record.payload);
                }
                self.member.log_at(now, start, end);
                self.notes.log_begins(start);
                // A two-thousandth of a second per member.
                let members = u64::try_from(self.member.state().members.len()).unwrap_or(u64::MAX);
                pace.set(Tail::PACE.max(Duration::from_millis(members / 2)));
            }
            Some(Tailed::Lost { lost, restart_at }) => self.member.log_lost(now(), lost, restart_at),
            Some(Tailed::Failed(error)) => self.fail(error.into()),
            None => self.fail(LogError::Broker(Error::Closed).into()),
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Progress(partition, token, progress) => self.member.progress(&partition, token, progress),
            Told::Gap(partition, token, lost) => self.member.gap(&partition, token, lost),
            Told::Ended(partition, token) => self.member.ended(&partition, token),
            Told::Note(note) => self.notes.told(note),
            Told::CutBack(partition, token, to) => {
                let mono = clock::mono_millis();
                let at = mono + RESET_DELAY;
                self.cuts.insert(partition, Cut { token, to, at });
                self.next_look = self.next_look.map(|_| mono);
            }
        }
    }
}
