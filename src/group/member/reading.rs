//! From the log's records to the state: from the log's start, or from a snapshot and what follows its mark.

use std::collections::BTreeSet;

use super::{Action, Lost, Member, Phase};
use crate::group::record::{MemberId, PartitionId, Position, Record, Token, Unreadable};
use crate::group::rules::{Rule, Rules};
use crate::group::snapshot::Collector;
use crate::group::state::{Applied, Change, State};

/// How long a log without a usable snapshot is waited for, in milliseconds: one that is being written may be cut off
/// just before, and the next one is written at once.
const MISSING_SNAPSHOT: u64 = 10_000;

/// Where reading the log is.
#[derive(Debug)]
pub(super) struct Reader {
    /// The offset at which it began; none before it is known.
    from: Option<i64>,
    /// Whether the state is that of the log up to here; if not, a snapshot is missing.
    following: bool,
    /// Looks for a snapshot.
    collector: Collector,
    /// What was read while it looked.
    kept: Vec<Kept>,
    /// The next offset to be read.
    next: i64,
    /// The log's first offset as of the last fetch.
    start: i64,
    /// The log's end as of the last fetch.
    end: Option<i64>,
    /// Since when it is at the log's end without a snapshot (monotonic).
    stuck_since: Option<u64>,
}

#[derive(Debug)]
struct Kept {
    at: Position,
    record: Record,
    bytes: usize,
}

impl Reader {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            from: None,
            following: false,
            collector: Collector::new(rules),
            kept: Vec::new(),
            next: 0,
            start: 0,
            end: None,
            stuck_since: None,
        }
    }

    /// Reading begins here.
    fn begin(&mut self, at: i64) {
        self.from = Some(at);
        self.following = at == 0;
        self.next = at;
    }

    /// The next offset to be read.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// The log's first offset.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    fn at_end(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// Whether the state is that of the whole log.
    pub(super) fn caught_up(&self) -> bool {
        self.following && self.at_end()
    }
}

impl Member {
    pub(super) fn read_record(&mut self, at: Position, payload: &[u8]) {
        if self.reader.from.is_none() {
            self.reader.begin(at.offset());
        }
        self.reader.next = at.offset() + 1;
        match Record::decode(payload) {
            Ok(record) if self.reader.following => self.apply(at, &record, payload.len(), Some(payload)),
            Ok(record) => self.keep(at, record, payload.len()),
            Err(why) => self.note_unreadable(at, &why),
        }
    }

    fn note_unreadable(&mut self, at: Position, why: &Unreadable) {
        self.unreadable += 1;
        // One of a kind of mistake is told; a thousand would say no more.
        if self.unreadable.is_power_of_two() {
            let (group, count) = (&self.settings.group, self.unreadable);
            let what = format!("record {at} of the log of group {group} is void: {why} ({count} so far)");
            self.warn(what);
        }
    }

    /// Keeps a record until there is a snapshot whose mark was read.
    fn keep(&mut self, at: Position, record: Record, bytes: usize) {
        let first = self.reader.from == Some(at.offset());
        if first && matches!(record, Record::Found { .. }) {
            // A log that was founded anew where a lost one ended.
            self.reader.following = true;
            return self.apply(at, &record, bytes, None);
        }
        self.snapshots.part_size(&record, bytes);
        let found = self.reader.collector.read(at, &record);
        if !matches!(record, Record::Part { .. } | Record::Note { .. }) {
            self.reader.kept.push(Kept { at, record, bytes });
        }
        if let Some(state) = found {
            self.take_snapshot(state, at);
        }
    }

    fn take_snapshot(&mut self, state: State, at: Position) {
        let Some(mark) = state.mark else { return };
        self.state = state;
        self.orderly.clear();
        self.unsure.extend(self.state.partitions.keys().cloned());
        self.reader.following = true;
        self.reader.collector = Collector::new(self.rules);
        self.snapshots.took(mark, at, self.now.mono);
        for partition in self.state.partitions.values() {
            self.greatest_token = self.greatest_token.max(partition.seen());
        }
        for (member, info) in &self.state.members {
            self.watch
                .heard(member, info.beat, info.session_ms, self.now.mono);
        }
        self.deciding.changed(self.now.mono);
        self.deciding.look_at_topics();
        self.note_kept_instances();
        if self.state.level > self.settings.speaks {
            return self.speaks_too_little();
        }
        for kept in std::mem::take(&mut self.reader.kept) {
            if kept.at.offset() > mark.at.offset() {
                self.apply(kept.at, &kept.record, kept.bytes, None);
            }
        }
    }

    /// Applies a record and does what follows from it. `payload` is none for one that this member cannot have written
    /// in its present life.
    fn apply(&mut self, at: Position, record: &Record, bytes: usize, payload: Option<&[u8]>) {
        let version = self.state.version;
        let applied = self.state.apply(self.rules, at, record);
        self.snapshots.read(&self.state, at, record, bytes, self.now.mono);
        if let Record::Report(report) | Record::Leave(report) = record
            && let Some((mark, hash)) = report.mark
            && applied.held
        {
            self.vote_read(&report.member, mark, hash);
        }
        if let Record::Report(report) = record
            && applied.held
        {
            self.reported(report);
        }
        if let Record::Grow {
            topic,
            was: Some(was),
            ..
        } = record
            && applied.held
        {
            self.deciding.made_anew(topic, *was, self.now.mono);
        }
        if matches!(record, Record::Renew { .. }) && self.state.renewed >= at.epoch() {
            self.renew_read();
        }
        if self.state.version != version {
            let covered = matches!(record, Record::Assign { .. });
            self.deciding.version_changed(self.now.mono, covered);
            if applied.changes.iter().any(may_keep) || self.deciding.anyone_away() {
                self.note_kept_instances();
            }
        }
        let touched = self.react(&applied);
        if let Some(payload) = payload {
            self.landed(payload, applied.held);
        }
        if self.lives() && !self.state.members.contains_key(&self.id) {
            self.removed(&applied);
        }
        for partition in &touched {
            self.settle(partition);
        }
        if let Record::Mark { by } = record
            && applied.held
            && *by == self.id
        {
            self.begin_snapshot();
        }
    }

    /// Notes what changed; gives the partitions that may concern this member's work.
    fn react(&mut self, applied: &Applied) -> BTreeSet<PartitionId> {
        let mut touched = BTreeSet::new();
        let mut expired = false;
        let mut resumed = false;
        for change in &applied.changes {
            match change {
                Change::Joined(member) | Change::Beat(member) => self.heard(member),
                Change::Left(member) => self.watch.gone(member),
                Change::Expired { member, .. } => {
                    self.watch.gone(member);
                    expired = true;
                }
                Change::Subscribed(member) => {
                    if *member == self.id || self.leaving.is_some() {
                        touched.extend(self.runs.keys().cloned());
                    }
                }
                Change::Granted {
                    partition,
                    token,
                    member,
                } => {
                    self.greatest_token = self.greatest_token.max(*token);
                    self.note_grant(partition, *token, member);
                    self.touch(partition, &mut touched);
                }
                Change::Reset { partition, token, .. } | Change::Renewed { partition, token, .. } => {
                    self.unsure.insert(partition.clone());
                    self.greatest_token = self.greatest_token.max(*token);
                    self.touch(partition, &mut touched);
                }
                Change::Released { partition, .. } | Change::Freed { partition, .. } => {
                    // One that left had ended its work before.
                    if expired {
                        self.unsure.insert(partition.clone());
                    } else if !self.unsure.contains(partition) {
                        self.orderly.insert(partition.clone());
                    }
                    self.touch(partition, &mut touched);
                }
                Change::Progress(partition) => {
                    self.unsure.remove(partition);
                    self.touch(partition, &mut touched);
                }
                Change::Target { partition, .. } | Change::Paused(Some(partition)) => {
                    self.touch(partition, &mut touched)
                }
                Change::Resumed(Some(partition)) => {
                    self.touch(partition, &mut touched);
                    resumed |= self.runs.contains_key(partition);
                }
                Change::Paused(None) => touched.extend(self.runs.keys().cloned()),
                Change::Resumed(None) => {
                    touched.extend(self.runs.keys().cloned());
                    resumed = true;
                }
                Change::Skipped { partition, offset } => self.skipped(partition, *offset),
                Change::Grown { .. } | Change::Recreated { .. } => self.deciding.look_at_topics(),
                Change::Level(level) if *level > self.settings.speaks => self.speaks_too_little(),
                Change::Marked(mark) => self.snapshots.marked(*mark, self.now.mono),
                Change::Founded | Change::Gap { .. } | Change::Stale { .. } | Change::Level(_) => {}
            }
        }
        // Not while it reads old ones: a fuse that has blown since was not meant by them.
        if resumed && self.lives() {
            self.actions.push(Action::Resumed);
        }
        touched
    }

    /// Nobody has begun anything of a partition without a position.
    fn note_grant(&mut self, partition: &PartitionId, token: Token, member: &MemberId) {
        let fresh = !self.has_position(partition);
        if (self.orderly.remove(partition) || fresh) && *member == self.id {
            self.clean.insert(partition.clone(), token);
        }
    }

    fn touch(&self, partition: &PartitionId, touched: &mut BTreeSet<PartitionId>) {
        let is_mine = || {
            let state = self.state.partitions.get(partition);
            state.is_some_and(|state| state.owner.as_ref() == Some(&self.id))
        };
        if self.runs.contains_key(partition) || is_mine() {
            touched.insert(partition.clone());
        }
    }

    fn heard(&mut self, member: &MemberId) {
        if *member == self.id {
            return;
        }
        if let Some(info) = self.state.members.get(member) {
            let session = if self.rules.has(Rule::ObservedSession) {
                info.session_ms
            } else {
                self.settings.session
            };
            self.watch.heard(member, info.beat, session, self.now.mono);
        }
    }

    pub(super) fn speaks_too_little(&mut self) {
        let (group, level, speaks) = (&self.settings.group, self.state.level, self.settings.speaks);
        self.fatal(format!(
            "group {group} writes records of version {level}; this build speaks up to {speaks}: use a newer one"
        ));
    }

    /// Its own removal was read (rule 8).
    fn removed(&mut self, applied: &Applied) {
        let by = applied.changes.iter().find_map(|change| match change {
            Change::Expired { member, by } if *member == self.id => Some(by.clone()),
            _ => None,
        });
        let session = self.settings.session;
        let why = match by {
            Some(by) => format!("member {by} read no report of it for {session} ms"),
            None => "a leave in its name was read".to_owned(),
        };
        if let Phase::Living { since } = self.phase
            && self.now.mono >= since + 10 * session
        {
            self.rejoin_after = 0;
        }
        self.drop_everything();
        self.next_life(self.rejoin_after);
        self.rejoin_after = (self.rejoin_after * 2).clamp((session / 20).max(1), session);
        self.actions.push(Action::Removed { why });
    }

    /// It goes on as another member, whose join is due in `delay` milliseconds: an id is never used again.
    pub(super) fn next_life(&mut self, delay: u64) {
        self.id = MemberId::random(self.dice.roll());
        self.phase = Phase::Out {
            join_at: self.now.mono + delay,
        };
    }

    pub(super) fn bounds(&mut self, start: i64, end: i64) {
        if self.reader.from.is_none() {
            self.reader.begin(start);
        }
        self.reader.start = start;
        self.reader.end = Some(end);
    }

    /// It lost its place in the log (rule 13).
    pub(super) fn begin_again(&mut self, lost: Lost, restart_at: i64) {
        if !self.rules.has(Rule::OutOfRange) && self.reader.following {
            self.reader.next = restart_at;
            return;
        }
        let why = match lost {
            Lost::OutOfRange => "what it wanted to read next is not in the log any more",
            Lost::Diverged => "the log was cut back behind what it had read: an unclean leader election",
        };
        if matches!(self.phase, Phase::Living { .. } | Phase::Joining) {
            self.former.insert(self.id.clone());
            self.drop_everything();
            self.next_life(0);
            let why = why.to_owned();
            self.actions.push(Action::Removed { why });
        } else {
            self.flights.clear();
            self.warn(format!("it reads the group's log anew: {why}"));
        }
        self.state = State::default();
        self.orderly.clear();
        self.unsure.clear();
        self.clean.clear();
        self.reader = Reader::new(self.rules);
        self.reader.begin(restart_at);
        self.reader.start = restart_at;
        self.watch.clear();
        self.snapshots.forget();
        self.deciding.begin_again(lost == Lost::Diverged);
    }

    /// Looks whether the log can be read at all.
    pub(super) fn check_reader(&mut self) {
        if self.reader.following || !self.reader.at_end() {
            self.reader.stuck_since = None;
            return;
        }
        let (start, end) = (self.reader.start, self.reader.next);
        let empty = start >= end;
        if empty && self.settings.rebuild {
            self.reader.following = true;
            return;
        }
        let since = *self.reader.stuck_since.get_or_insert(self.now.mono);
        if !empty && self.now.mono < since + self.snapshot_patience() {
            return;
        }
        if self.settings.rebuild {
            self.reader.stuck_since = Some(self.now.mono);
            self.actions.push(Action::Truncate { before: end });
        } else {
            let group = &self.settings.group;
            self.fatal(format!(
                "the log of group {group} begins at offset {start} and has no usable snapshot: its beginning is lost. \
                 Start one member with --rebuild-from-native to found the group anew from the offsets committed to \
                 Kafka's own group"
            ));
        }
    }

    fn snapshot_patience(&self) -> u64 {
        MISSING_SNAPSHOT.max(2 * self.settings.session)
    }

    pub(super) fn reader_wake(&self) -> Option<u64> {
        self.reader
            .stuck_since
            .map(|since| since + self.snapshot_patience())
    }

    /// The floor of a log that this member founds: the wall clock, and above every token it has seen.
    pub(super) fn floor(&self) -> u64 {
        let since = self.now.lease.saturating_sub(self.began);
        let clock = self.settings.unix_micros + since * 1_000;
        let seen = self.greatest_token;
        if seen == Token::NONE {
            clock
        } else {
            clock.max(seen.number() + 1)
        }
    }
}

/// Whether partitions may be kept for an instance after this.
fn may_keep(change: &Change) -> bool {
    matches!(change, Change::Left(_) | Change::Expired { .. })
}
