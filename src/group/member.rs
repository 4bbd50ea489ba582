//! What this member must do next: what it reads of the log, the time and the work that ended go in, [`Action`]s come
//! out. Pure; the driver performs the actions.
//!
//! In parts, in reading order:
//! - `reading`: from the log's records to the state, from the log's start or from a snapshot;
//! - `work`: the partitions it owns: first position, start, drain, release;
//! - `flight`: the one record of its own on its way: join, report, leave;
//! - `leaving`: how it goes, whether or not the log can be reached;
//! - `deciding`: what the leader decides, and its deputies when it does not: assignments, expiries, new partitions;
//! - `snapshots`: marks, snapshots, and cutting the log.
//!
//! The rules' numbers are those of the design, `coordination.md`.

mod deciding;
mod flight;
mod leaving;
mod reading;
mod snapshots;
#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use super::lease::Now;
use super::lease::{Lease, Watch};
use super::record::{MemberId, PartitionId, Position, Token, Topics};
use super::rules::{Rule, Rules};
use super::state::{MAX_DONE, State};
use crate::progress::Progress;
use deciding::Deciding;
use flight::Flights;
use reading::Reader;
use snapshots::Snapshots;
use work::Run;

/// How a member behaves. Times are in milliseconds.
#[derive(Debug, Clone)]
pub struct MemberSettings {
    /// The group's name, for messages.
    pub group: String,
    /// A name that comes back after a restart: partitions wait for it.
    pub instance: Option<String>,
    /// Where this process runs, for people.
    pub host: String,
    /// Others expire it after that long without a report; its lease is nine tenths of it.
    pub session: u64,
    /// How long handlers have to end by themselves before a partition moves or the member leaves.
    pub drain: u64,
    /// How long handlers take to be cancelled.
    pub cancel: u64,
    /// How long partitions are held back for an instance that went away.
    pub grace: u64,
    /// The least time between two reports.
    pub report: u64,
    /// The newest record version that it speaks.
    pub speaks: u32,
    /// It may found the group if the log is empty. (Not when Kafka's own commits say that the group existed.)
    pub found: bool,
    /// It may found the group anew if the log's beginning is lost.
    pub rebuild: bool,
    /// Its topics come from a pattern: a topic that is new to the group is read from its beginning.
    pub pattern: bool,
    /// The wall clock at [`Member::new`] in microseconds since 1970: tokens of a log that it founds are above it.
    pub unix_micros: u64,
    /// A snapshot is due when the log has grown by that many bytes (and four times the last snapshot's size).
    pub snapshot_bytes: usize,
    /// The most bytes of `done` reported for one partition.
    pub done_bytes: usize,
    /// Whether [`Action::Reported`] is told.
    pub tell_reports: bool,
}

impl MemberSettings {
    /// A snapshot is due when the log has grown by at least that.
    pub const SNAPSHOT_BYTES: usize = 1 << 20;

    /// The usual settings of a group for this session, in milliseconds. It may found the group.
    #[must_use]
    pub fn new(group: &str, host: &str, session: u64) -> Self {
        Self {
            group: group.to_owned(),
            instance: None,
            host: host.to_owned(),
            session,
            drain: 30_000,
            cancel: session / 20,
            grace: 0,
            report: 1_000,
            speaks: super::record::SPEAKS,
            found: true,
            rebuild: false,
            pattern: false,
            unix_micros: 0,
            snapshot_bytes: Self::SNAPSHOT_BYTES,
            done_bytes: MAX_DONE,
            tell_reports: false,
        }
    }
}

/// How a member lost its place in the log (rule 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// What it wanted to read next was cut off: it was too slow.
    OutOfRange,
    /// What it read last is not in the log any more: an unclean election cut it back.
    Diverged,
}

/// One record to be appended, for its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// The append failed; what was appended may still turn up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendFailed;

/// What has to be done now, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write this to the log; again, if the id was seen before. A repeat may be left out while the former try is
    /// still under way.
    Append {
        /// For [`Member::appended`].
        id: AppendId,
        /// The record.
        payload: Vec<u8>,
    },
    /// Work out a first position and tell [`Member::found_position`].
    FindPosition {
        /// Of which partition.
        partition: PartitionId,
        /// To be told with the answer.
        token: Token,
        /// Its beginning, whatever the policy says.
        late: bool,
    },
    /// From now on handlers may start for it, while the lease lasts. It may come again, under another token or (after
    /// [`Member::ended`]) under the same one; no handler of an earlier start runs any more then.
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
    /// A report with this partition was read back.
    Reported {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
        /// What the group knows now.
        progress: Progress,
    },
    /// An operator paused it: start no handler; those running may end.
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
    /// An operator resumed the group, or a partition of this member, whether or not it was paused.
    Resumed,
    /// An operator took this record for finished: do not try it again; report it as done.
    Skip {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
        /// The record's offset.
        offset: i64,
    },
    /// Start nothing more; when those in flight are over, tell the last progress and then [`Member::ended`].
    Drain {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
    },
    /// End all handlers now, then as in a drain. It may follow a drain; [`Member::ended`] is told once.
    Cancel {
        /// Which partition.
        partition: PartitionId,
        /// The ownership.
        token: Token,
    },
    /// Handlers may run until the lease clock shows this; 0: the lease is lost, end every handler now. What is started
    /// stays started and goes on with the next lease ([`Member::ended`] is told for drains and cancels only).
    Lease {
        /// Milliseconds of the lease clock.
        until: u64,
    },
    /// Delete the log's records below this offset.
    Truncate {
        /// The offset of the first record that stays.
        before: i64,
    },
    /// It is a member now.
    Joined {
        /// Under this id.
        member: MemberId,
    },
    /// All it owns has a position and was started; told once after each join.
    Ready,
    /// It is no member any more, and joins again by itself.
    Removed {
        /// For people.
        why: String,
    },
    /// It has left; nothing follows.
    Left,
    /// Something people should know.
    Warn(String),
    /// It cannot go on; nothing follows.
    Fatal(String),
}

/// Whether this process is a member.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// It is not, and joins when it has read the log, not before `join_at` (monotonic).
    Out { join_at: u64 },
    /// Its join is on its way.
    Joining,
    /// It is.
    Living { since: u64 },
    /// It was, or never will be: nothing follows.
    Over,
}

/// One process' part in a group.
#[derive(Debug)]
pub struct Member {
    settings: MemberSettings,
    rules: Rules,
    dice: Dice,
    /// As of the last input that brought it.
    now: Now,
    /// The lease clock at the start, for the founder's wall clock.
    began: u64,
    id: MemberId,
    phase: Phase,
    /// Since when it wants to leave (monotonic).
    leaving: Option<u64>,
    /// Since when no handler runs while it leaves (monotonic).
    idle_since: Option<u64>,
    state: State,
    reader: Reader,
    lease: Lease,
    /// Whether the outside was told that there is a lease.
    lease_told: bool,
    watch: Watch,
    /// Subscribed topics as metadata knows them; none before they were looked up.
    wanted: Option<Topics>,
    runs: BTreeMap<PartitionId, Run>,
    /// Partitions that their last owner has given up in order, as far as this one has read.
    orderly: BTreeSet<PartitionId>,
    /// Those whose owner died or was reset, as long as nobody has reported since: from then on the progress tells.
    unsure: BTreeSet<PartitionId>,
    /// Of those granted to this member: under which token.
    clean: BTreeMap<PartitionId, Token>,
    /// Earlier ownerships whose handlers have not ended yet.
    ending: BTreeSet<(PartitionId, Token)>,
    flights: Flights,
    deciding: Deciding,
    snapshots: Snapshots,
    /// How long it waits before the next join after a removal, in milliseconds.
    rejoin_after: u64,
    /// Ids under which it was a member of this log before it lost its place.
    former: BTreeSet<MemberId>,
    ready_told: bool,
    /// Records that could not be read.
    unreadable: u64,
    /// The greatest token seen, so that a log founded anew goes on above it.
    greatest_token: Token,
    actions: Vec<Action>,
}

impl Member {
    /// A member that has read nothing. `seed` is its own randomness: its ids come from it.
    #[must_use]
    pub fn new(settings: MemberSettings, seed: u64, rules: Rules, now: Now) -> Self {
        let mut dice = Dice(seed);
        let id = MemberId::random(dice.roll());
        let margin = if rules.has(Rule::CancelMargin) {
            settings.cancel
        } else {
            0
        };
        Self {
            lease: Lease::new(settings.session, margin),
            settings,
            rules,
            dice,
            now,
            began: now.lease,
            id,
            phase: Phase::Out { join_at: now.mono },
            leaving: None,
            idle_since: None,
            state: State::default(),
            reader: Reader::new(rules),
            lease_told: false,
            watch: Watch::default(),
            wanted: None,
            runs: BTreeMap::new(),
            orderly: BTreeSet::new(),
            unsure: BTreeSet::new(),
            clean: BTreeMap::new(),
            ending: BTreeSet::new(),
            flights: Flights::default(),
            deciding: Deciding::default(),
            snapshots: Snapshots::default(),
            rejoin_after: 0,
            former: BTreeSet::new(),
            ready_told: false,
            unreadable: 0,
            greatest_token: Token::NONE,
            actions: Vec::new(),
        }
    }

    /// The record at `at` was read. Records come in the log's order, each once.
    pub fn read(&mut self, now: Now, at: Position, timestamp: i64, payload: &[u8]) {
        let _ = timestamp;
        if self.arrive(now) {
            self.read_record(at, payload);
        }
    }

    /// The log's bounds as of the last fetch, after its records were [read](Self::read): the offset of its first
    /// record, and the one behind its last record that can be read. A member founds or joins at the log's end only.
    pub fn log_at(&mut self, now: Now, start: i64, end: i64) {
        if self.arrive(now) {
            self.bounds(start, end);
        }
    }

    /// It lost its place in the log; the records that follow begin at `restart_at`, the log's first offset.
    pub fn log_lost(&mut self, now: Now, lost: Lost, restart_at: i64) {
        if self.arrive(now) {
            self.begin_again(lost, restart_at);
        }
    }

    /// An append was acknowledged or failed.
    ///
    /// An acknowledgement proves nothing: a record counts when it is read back. A failure has it tried again sooner.
    pub fn appended(&mut self, now: Now, id: AppendId, outcome: Result<(), AppendFailed>) {
        if self.arrive(now) {
            self.acknowledged(id, outcome);
        }
    }

    /// What is due is done. To be called after any other input, and at [`next_wake`](Self::next_wake).
    pub fn tick(&mut self, now: Now) {
        if !self.arrive(now) {
            return;
        }
        self.check_reader();
        self.check_drains();
        self.check_leaving();
        self.decide();
        self.write_snapshot();
        self.fly();
        self.tell_ready();
    }

    /// When it wants its next [`tick`](Self::tick), in milliseconds of the monotonic clock.
    #[must_use]
    pub fn next_wake(&self, now: Now) -> u64 {
        let mut wake = now.mono + 60_000;
        if self.phase == Phase::Over {
            return wake;
        }
        let mut at = |when: Option<u64>| wake = wake.min(when.unwrap_or(u64::MAX));
        at(self.lease_told.then(|| now.mono + self.lease.left(now)));
        at(self.reader_wake());
        at(self.drains_wake());
        at(self.leaving_wake());
        at(self.deciding_wake());
        at(self.snapshot_wake());
        at(self.flight_wake());
        wake.max(now.mono)
    }

    /// What metadata says of the subscribed topics: all of them, each time that it was asked for, even if nothing is
    /// new. Nothing is joined before the first time; later it brings new partitions, new topics of a pattern, and topics
    /// that were made anew.
    pub fn topics_seen(&mut self, topics: Topics) {
        self.wanted = Some(topics);
        self.deciding.topics_seen(self.now.mono);
    }

    /// The answer to [`Action::FindPosition`]: the first offset to be processed, and the leader epoch of the record
    /// before it (−1 if it is not known).
    pub fn found_position(&mut self, partition: &PartitionId, token: Token, offset: i64, epoch: i32) {
        self.place(partition, token, Progress::at(offset, epoch));
    }

    /// How far the work on a partition is now: all of it. It goes into the next report.
    pub fn progress(&mut self, partition: &PartitionId, token: Token, progress: Progress) {
        let known = self.state.partitions.get(partition);
        let known = known.is_some_and(|state| state.progress == progress);
        if let Some(run) = self.runs.get_mut(partition).filter(|run| run.token == token) {
            run.told(progress, known);
        }
    }

    /// These offsets fell off the topic's start before they were processed.
    pub fn gap(&mut self, partition: &PartitionId, token: Token, lost: Range<i64>) {
        if let Some(run) = self.runs.get_mut(partition).filter(|run| run.token == token) {
            run.lost(lost);
        }
    }

    /// The answer to [`Action::Drain`] and [`Action::Cancel`]: no handler of that ownership runs any more, and its
    /// last progress was told.
    pub fn ended(&mut self, partition: &PartitionId, token: Token) {
        self.work_ended(partition, token);
    }

    /// It is to leave the group: its partitions are moved to others, then it goes, and [`Action::Left`] follows.
    pub fn leave(&mut self, now: Now) {
        if self.arrive(now) && self.leaving.is_none() {
            self.leaving = Some(now.mono);
            self.settle_all();
        }
    }

    /// What has to be done now, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The group as of the last record read.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// This member's present id: another one after each removal.
    #[must_use]
    pub fn id(&self) -> &MemberId {
        &self.id
    }

    /// The lease clock's reading (milliseconds) at or after which no handler may run; none without a lease.
    #[must_use]
    pub fn lease_until(&self) -> Option<u64> {
        self.lease.until()
    }

    /// How many records could not be read.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Notes the time, and the lease's end if it has come. False: nothing follows any more.
    fn arrive(&mut self, now: Now) -> bool {
        self.now = now;
        if self.phase == Phase::Over {
            return false;
        }
        if !self.lease.holds(now) {
            if std::mem::take(&mut self.lease_told) {
                self.actions.push(Action::Lease { until: 0 });
            }
            if self.rules.has(Rule::RestartCounts) {
                self.watch.restart(now.mono);
            }
        }
        true
    }

    fn lives(&self) -> bool {
        matches!(self.phase, Phase::Living { .. })
    }

    /// Extends the lease: a record first sent at `noted` was read back and held.
    fn extend_lease(&mut self, noted: u64) {
        if self.lease.extend(noted)
            && self.lease.holds(self.now)
            && let Some(until) = self.lease.until()
        {
            self.lease_told = true;
            self.actions.push(Action::Lease { until });
        }
    }

    /// Ends the lease and every handler: it owns nothing under its present id any more.
    fn drop_everything(&mut self) {
        self.lease.lose();
        if std::mem::take(&mut self.lease_told) {
            self.actions.push(Action::Lease { until: 0 });
        }
        self.drop_runs();
        self.flights.clear();
        self.deciding.forget();
        self.snapshots.stop_writing();
        self.ready_told = false;
    }

    /// Nothing follows: it ends all handlers and says why.
    fn fatal(&mut self, why: String) {
        self.drop_everything();
        self.phase = Phase::Over;
        self.actions.push(Action::Fatal(why));
    }

    fn warn(&mut self, what: String) {
        self.actions.push(Action::Warn(what));
    }

    /// How long after the leader this member acts, counted in `step`s of its rank. None: it does not act at all.
    fn my_turn(&self, step: u64) -> Option<u64> {
        if !self.lives() || !self.lease.holds(self.now) {
            return None;
        }
        let rank = self.state.rank(&self.id)?;
        (rank == 0 || self.rules.has(Rule::Deputies)).then(|| rank as u64 * step)
    }

    /// How long before a record that was not read back is written again: longer each time, never for ever.
    fn backoff(&mut self, tries: u32) -> u64 {
        let most = (self.settings.session / 4).max(1);
        let first = (self.settings.session / 20).clamp(1, 500);
        let wait = (first << tries.min(10)).min(most);
        wait + self.dice.roll() % (wait / 4 + 1)
    }
}

/// A generator of pseudo-random numbers (splitmix64).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}
