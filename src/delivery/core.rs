//! The pure owner of everything that is in delivery: inputs change it, [`Core::poll`] says what has to be done.
//!
//! One for the process and its one target: the partitions share slots, buffer, breaker and fuse. The pipeline gives it
//! every record, outcome and acknowledgement, then polls once for all of them.

mod arrival;
mod bodies;
mod ending;
mod expiry;
mod finish;
mod outcome;
mod pressure;
mod ready;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use arrival::Batch;
pub use telling::Outage;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::breaker::{self, Breaker};
use super::dedup::{EventId, Window};
use super::fuse::Fuse;
use super::lanes::{EntryId, LaneKey, Lanes, Stage};
use super::limits::{Buffer, Kind, Rate, Share, Slots};
use super::progress::Track;
use super::retry::Successes;
use super::rules::Rules;
use super::{Action, Claim, Now, PartitionId, Reason, Settings};
use crate::progress::Progress;

/// Lanes with a mark at most: what is forgotten of one costs attempts, nothing else.
const MAX_MARKS: usize = 10_000;

/// Ids of a partition of replays that are kept at most: a letter that is replayed twice comes twice within this.
const MAX_REPLAYS: usize = 10_000;

/// What comes with a partition.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// Another may have begun some of it that the progress does not tell of: the one before was not given up in order.
    pub taken_over: bool,
    /// The source partition whose lanes it feeds, if it is one of the replay topic.
    pub beside: Option<PartitionId>,
    /// Milliseconds after which the source deletes records, if it does.
    pub retention: Option<u64>,
}

/// All that is in delivery in this process.
#[derive(Debug)]
pub struct Core<B> {
    settings: Settings,
    rules: Rules,
    random: StdRng,
    /// Grows with each start and outcome: which was before which.
    number: u64,
    lanes: Lanes<B>,
    streams: BTreeMap<Claim, Stream>,
    next_claim: u32,
    groups: BTreeMap<PartitionId, u32>,
    /// Partitions with ready heads, in turn, for first and later attempts.
    turns: [VecDeque<Claim>; 2],
    /// Heads that become due.
    due: BTreeSet<(u64, EntryId)>,
    /// Entries to be looked at: they may have become ready.
    todo: VecDeque<EntryId>,
    /// Heads whose body was not asked for, as there was no room.
    starved: VecDeque<EntryId>,
    /// Partitions whose fetching has stopped at a bound.
    stops: VecDeque<Claim>,
    /// Partitions that drain.
    ending: Vec<Claim>,
    /// When expiring records are looked for next.
    expire_at: u64,
    /// Dead letters to be written.
    letters: VecDeque<EntryId>,
    successes: Successes,
    breaker: Breaker,
    /// What the attempt ended with that opened it.
    opened_by: Option<Arc<str>>,
    fuse: Fuse,
    slots: Slots,
    rate: Rate,
    buffer: Buffer,
    /// Lanes whose last record went to the dead letters.
    follows: BTreeSet<LaneKey>,
    /// Heads of such lanes that failed as well, in a partition short of room: they wait for proof.
    proving: BTreeMap<Claim, BTreeSet<EntryId>>,
    /// For how many of these others' successes are proof still, and when the last of those was.
    proof: (u32, u64),
    /// Lanes of which a record was given up without proof.
    given_up: BTreeSet<LaneKey>,
    /// The target asked for a pause until then.
    paused_until: u64,
    /// Nothing is evicted again before this.
    evict_at: u64,
    actions: Vec<Action<B>>,
}

/// A partition under one token.
#[derive(Debug)]
struct Stream {
    partition: PartitionId,
    token: u64,
    group: u32,
    track: Track,
    entries: BTreeMap<i64, EntryId>,
    /// Heads that may start: by offset; later attempts by when they became due.
    ready: [BTreeSet<(i64, EntryId)>; 2],
    /// Whether it is in the turn.
    turning: [bool; 2],
    share: Share,
    /// Fetching has stopped at a bound.
    stopped: bool,
    /// Fetching rests, as enough may start.
    resting: bool,
    /// Heads that came and were not looked at.
    came: usize,
    /// As many records may be unfinished: [`Settings::max_unfinished`] but for what is kept for proof.
    most: usize,
    /// The operator has paused it.
    paused: bool,
    /// It starts nothing more.
    draining: bool,
    /// Its handlers are being ended; dead letters are waited for until then.
    cancelled: Option<u64>,
    running: u32,
    window: Option<Window>,
    /// It is one of the replay topic.
    replays: bool,
    reading_back: bool,
    /// Ids of unfinished records that were read back.
    open: BTreeSet<EventId>,
    ids: BTreeSet<(EventId, i64)>,
    /// Lanes that wait for a report, by the offset that has to be in it.
    reports: BTreeMap<i64, LaneKey>,
    retention: Option<u64>,
    /// Held records below the first and all below the second are about to be deleted for their bytes.
    edge: (i64, i64),
    expiry_at: u64,
    /// Another may have begun what is in the log now.
    taken_over: bool,
    /// A batch that cannot be decoded, and how often it was fetched.
    broken: (i64, u32),
}

/// A record that waits, for `groups why`.
#[derive(Debug, Clone)]
pub struct Waits {
    /// Its partition.
    pub claim: Claim,
    /// Its offset.
    pub offset: i64,
    /// Attempts that failed.
    pub tries: u32,
    /// Those that count.
    pub counted: u32,
    /// Milliseconds since the epoch.
    pub first_failed: Option<i64>,
    /// Milliseconds until the next attempt.
    pub due_in: u64,
    /// It goes to the dead letters for this.
    pub dead: Option<Reason>,
    /// What the last attempt ended with.
    pub why: Option<Arc<str>>,
}

impl<B: Clone> Core<B> {
    /// Without partitions. `seed` is its randomness.
    #[must_use]
    pub fn new(settings: Settings, rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            random: StdRng::seed_from_u64(seed),
            number: 0,
            lanes: Lanes::default(),
            streams: BTreeMap::new(),
            next_claim: 0,
            groups: BTreeMap::new(),
            turns: Default::default(),
            due: BTreeSet::new(),
            todo: VecDeque::new(),
            starved: VecDeque::new(),
            stops: VecDeque::new(),
            ending: Vec::new(),
            expire_at: u64::MAX,
            letters: VecDeque::new(),
            successes: Successes::default(),
            breaker: Breaker::default(),
            opened_by: None,
            fuse: Fuse::default(),
            slots: Slots::new(settings.concurrency),
            rate: Rate::default(),
            buffer: Buffer::new(settings.max_buffer),
            follows: BTreeSet::new(),
            proving: BTreeMap::new(),
            proof: (0, 0),
            given_up: BTreeSet::new(),
            paused_until: 0,
            evict_at: 0,
            actions: Vec::new(),
            settings,
        }
    }

    /// A partition is owned from now on.
    pub fn grant(
        &mut self,
        now: Now,
        partition: PartitionId,
        token: u64,
        progress: Progress,
        grant: Grant,
    ) -> Claim {
        self.next_claim += 1;
        let claim = Claim(self.next_claim);
        let groups = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let replays = grant.beside.is_some();
        let lanes_of = grant.beside.unwrap_or_else(|| partition.clone());
        let group = *self.groups.entry(lanes_of).or_insert(groups);
        let mut track = Track::new(progress);
        if self.rules.has(super::rules::Rule::Seek) {
            track.seek();
        }
        let window = self
            .settings
            .dedup
            .map(|dedup| Window::new(dedup.ids, dedup.window));
        let read_back = window.is_some() && self.rules.has(super::rules::Rule::Rebuild);
        if read_back {
            let progress = track.progress();
            let finished = progress.done.iter().next_back().map(|(_, end)| end);
            let to = finished.or(progress.next).unwrap_or(0);
            self.actions.push(Action::ReadBack { claim, to });
        } else {
            self.actions.push(Action::Fetch {
                claim,
                from: track.position(),
            });
        }
        let stream = Stream {
            partition,
            token,
            group,
            track,
            entries: BTreeMap::new(),
            ready: Default::default(),
            turning: [false; 2],
            share: Share::default(),
            stopped: false,
            resting: false,
            came: 0,
            most: pressure::usual(self.settings.max_unfinished),
            paused: false,
            draining: false,
            cancelled: None,
            running: 0,
            window,
            replays,
            reading_back: read_back,
            open: BTreeSet::new(),
            ids: BTreeSet::new(),
            reports: BTreeMap::new(),
            retention: grant.retention,
            edge: (i64::MIN, i64::MIN),
            expiry_at: now.mono,
            taken_over: grant.taken_over,
            broken: (-1, 0),
        };
        if stream.expires() {
            self.expire_at = now.mono;
        }
        self.streams.insert(claim, stream);
        self.share_limits();
        claim
    }

    /// What the claim is for: the partition and the token.
    #[must_use]
    pub fn partition(&self, claim: Claim) -> Option<(&PartitionId, u64)> {
        self.streams
            .get(&claim)
            .map(|stream| (&stream.partition, stream.token))
    }

    /// Ids of a partition that are kept at most.
    #[must_use]
    pub fn window_ids(&self, claim: Claim) -> usize {
        let window = self.streams.get(&claim).and_then(|stream| stream.window.as_ref());
        window.map_or(0, Window::most)
    }

    /// How far a partition is.
    #[must_use]
    pub fn progress(&self, claim: Claim) -> Option<&Progress> {
        self.streams.get(&claim).map(|stream| stream.track.progress())
    }

    /// The progress of the partitions in which it has changed since this was asked last: what a report carries. Each is a
    /// consistent cut.
    pub fn take_changed(&mut self) -> Vec<(Claim, Progress)> {
        let changed = |(claim, stream): (&Claim, &mut Stream)| Some((*claim, stream.track.take_changed()?));
        self.streams.iter_mut().filter_map(changed).collect()
    }

    /// A report was read back: what it holds lets keys go on that wait for it ([`Settings::commit_each`]).
    pub fn reported(&mut self, claim: Claim, progress: &Progress) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        let lanes = &mut self.lanes;
        let todo = &mut self.todo;
        stream.reports.retain(|offset, lane| {
            let there = progress.is_finished(*offset);
            if there {
                todo.extend(lanes.reported(lane, claim, *offset));
            }
            !there
        });
    }

    /// The operator pauses a partition, or lets it go on.
    pub fn pause(&mut self, claim: Claim, paused: bool) {
        if let Some(stream) = self.streams.get_mut(&claim) {
            stream.paused = paused;
        }
        self.turn(claim);
    }

    /// Starts a second in this process: the group's by its living members; none for no limit.
    pub fn set_rate(&mut self, per_second: Option<f64>) {
        self.rate.set(per_second);
    }

    /// The operator says that rejections are meant (`groups resume`).
    pub fn resume(&mut self) {
        self.fuse.resume();
    }

    /// Whether the breaker is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Whether the fuse has blown.
    #[must_use]
    pub fn is_blown(&self) -> bool {
        self.fuse.is_blown()
    }

    /// Handlers that run, and slots.
    #[must_use]
    pub fn slots(&self) -> (u32, u32) {
        (self.slots.running(), self.slots.limit())
    }

    /// Bytes of bodies in memory.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        self.buffer.used()
    }

    /// Records that are known and not finished.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.lanes.len()
    }

    /// The records that wait after a failure, in order.
    pub fn waiting(&self, now: Now) -> impl Iterator<Item = Waits> + '_ {
        let entries = self.streams.values().flat_map(|stream| stream.entries.values());
        entries.filter_map(move |id| {
            let entry = self.lanes.get(*id).filter(|entry| entry.is_held())?;
            Some(Waits {
                claim: entry.claim,
                offset: entry.offset,
                tries: entry.tries.tries,
                counted: entry.tries.counted,
                first_failed: entry.tries.first_failed,
                due_in: entry.due.saturating_sub(now.mono),
                dead: entry.dead,
                why: entry.why.clone(),
            })
        })
    }

    /// Does what is due and starts what may start; `may_start` is whether the lease lasts. To be called after inputs, and at
    /// [`Self::next_wake`]. What has to be done is then in [`Self::swap_actions`].
    pub fn poll(&mut self, now: Now, may_start: bool) {
        self.slots.tick(now);
        while let Some((due, id)) = self.due.first().copied().filter(|(due, _)| *due <= now.mono) {
            self.due.remove(&(due, id));
            if let Some(entry) = self.lanes.get_mut(id) {
                entry.timed = false;
            }
            self.todo.push_back(id);
        }
        self.expire(now);
        self.relieve(now);
        self.feed_starved();
        self.settle(now);
        if may_start {
            self.write_letters();
            self.start(now);
        }
        self.end(now);
    }

    /// What has to be done, in order, into a list whose room is used for what follows.
    pub fn swap_actions(&mut self, into: &mut Vec<Action<B>>) {
        into.clear();
        std::mem::swap(&mut self.actions, into);
    }

    /// What has to be done, in order.
    #[cfg(test)]
    pub(super) fn take_actions(&mut self) -> Vec<Action<B>> {
        std::mem::take(&mut self.actions)
    }

    /// When [`Self::poll`] has something to do without another input: milliseconds of the monotonic clock.
    pub fn next_wake(&mut self, now: Now) -> Option<u64> {
        let due = self.due.first().map(|(due, _)| *due);
        let start = if self.turns.iter().any(|turn| !turn.is_empty()) && !self.slots.is_full() {
            let pause = (self.paused_until > now.mono).then_some(self.paused_until);
            let probe = if self.breaker.is_open() {
                self.breaker.probe_at().map(|at| at.max(now.mono + 1))
            } else {
                None
            };
            pause.max(self.rate.wait(now)).max(probe)
        } else {
            None
        };
        let ending = self
            .ending
            .iter()
            .filter_map(|claim| self.streams.get(claim)?.cancelled);
        let ending = ending.filter(|at| *at > now.mono);
        let expiry = (self.expire_at < u64::MAX && !self.lanes.is_empty()).then_some(self.expire_at);
        ending.chain(due).chain(start).chain(expiry).min()
    }

    /// Looks at what may have become ready, until nothing more follows from it.
    fn settle(&mut self, now: Now) {
        while let Some(id) = self.todo.pop_front() {
            self.look(now, id);
        }
        for stream in self.streams.values_mut() {
            stream.came = 0;
        }
    }

    /// The limits that the partitions share.
    fn share_limits(&mut self) {
        self.buffer.set_partitions(self.streams.len());
        if let Some(dedup) = self.settings.dedup {
            let sources = self.streams.values().filter(|stream| !stream.replays).count();
            let most = dedup.ids / sources.max(1);
            for stream in self.streams.values_mut() {
                // What is replayed is little: it does not halve the others' share.
                let most = if stream.replays {
                    most.min(MAX_REPLAYS)
                } else {
                    most
                };
                if let Some(window) = &mut stream.window {
                    window.set_most(most);
                }
            }
        }
    }

    /// Puts a partition into the turn, or leaves it there, as long as something of it may start.
    fn turn(&mut self, claim: Claim) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        if stream.paused || stream.draining {
            return;
        }
        for (at, turn) in self.turns.iter_mut().enumerate() {
            let ready = stream.ready.get(at).is_some_and(|ready| !ready.is_empty());
            if let Some(turning) = stream.turning.get_mut(at)
                && ready
                && !*turning
            {
                *turning = true;
                turn.push_back(claim);
            }
        }
    }

    /// Tells about the breaker, and begins again with one slot once it closes.
    fn changed(&mut self, change: breaker::Change) {
        let open = match change {
            breaker::Change::None => return,
            breaker::Change::Opened => true,
            breaker::Change::Closed => {
                self.slots.restart();
                false
            }
        };
        self.actions.push(Action::Breaker { open });
    }

    /// The next number of a start or an outcome.
    fn count(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// The entry of an attempt, if that is still the one.
    fn attempted(&self, attempt: super::Attempt) -> Option<&super::lanes::Entry<B>> {
        self.lanes.get(attempt.entry).filter(|entry| match entry.stage {
            Stage::Running { attempt: number, .. } | Stage::Dead(Some(number)) => number == attempt.number,
            _ => false,
        })
    }
}

/// The index of a kind in pairs of things.
const fn at(kind: Kind) -> usize {
    match kind {
        Kind::Fresh => 0,
        Kind::Again => 1,
    }
}

/// Marks a lane, within the bound.
fn mark(marks: &mut BTreeSet<LaneKey>, lane: LaneKey) {
    if marks.len() >= MAX_MARKS {
        marks.pop_first();
    }
    marks.insert(lane);
}
