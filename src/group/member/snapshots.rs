//! Marks, snapshots and cutting the log: it stays as short as a few snapshots.
//!
//! At a mark every replica hashes its state and reports the hash. The leader then writes the state in parts. When it
//! has read them all, and nobody reported another hash, the log is cut at the mark of the complete snapshot *before*:
//! whoever is reading the log just now still finds a snapshot and every record from its mark on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Action, AppendId, Member};
use crate::group::record::{MemberId, Position, Record};
use crate::group::rules::Rule;
use crate::group::snapshot;
use crate::group::state::{MARK_DISTANCE, Mark, State};

/// Parts on their way at once.
const WINDOW: usize = 4;

/// A snapshot all of whose parts were read.
#[derive(Debug)]
struct Complete {
    mark: Position,
    /// Where its last part lies.
    at: Position,
    /// Bytes of its parts.
    size: usize,
    /// When it was complete (monotonic).
    since: u64,
}

/// One whose parts are being read.
#[derive(Debug, Default)]
struct Partial {
    mark: Position,
    seen: BTreeSet<u32>,
    size: usize,
}

/// A part that is being written until it is read.
#[derive(Debug)]
struct Piece {
    n: u32,
    id: Option<AppendId>,
    payload: Vec<u8>,
    again: u64,
    tries: u32,
}

/// What is known of the log's snapshots.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Bytes of records since the mark of the last complete snapshot, or since the log's start.
    grown: usize,
    /// Bytes of records since the last mark.
    since_mark: usize,
    /// The last mark, and when it was read (monotonic).
    mark: Option<(Mark, u64)>,
    /// A mark to be reported with its hash.
    to_report: Option<Mark>,
    /// What the others reported for the last mark.
    votes: BTreeMap<MemberId, u64>,
    /// Another hash was reported for the last mark: its snapshot does not count.
    disputed: bool,
    partial: Partial,
    /// The last two, the older first.
    complete: VecDeque<Complete>,
    /// Since when a mark is due, when it is written again, and how often it was.
    due: Option<(u64, u64, u32)>,
    writing: Vec<Piece>,
    mark_of_writing: Position,
    /// Where the log was cut last, and when that is tried again if it has not come about.
    cut: (i64, u64),
}

impl Snapshots {
    /// A record was read and applied.
    pub(super) fn read(&mut self, state: &State, at: Position, record: &Record, bytes: usize, mono: u64) {
        let Record::Part {
            mark, n, of, hash, ..
        } = record
        else {
            self.grown += bytes;
            self.since_mark += bytes;
            return;
        };
        if state.mark
            != Some(Mark {
                at: *mark,
                hash: *hash,
            })
            || self.disputed
        {
            return;
        }
        if self.mark_of_writing == *mark {
            self.writing.retain(|piece| piece.n != *n);
        }
        self.count(*mark, *n, bytes);
        let known = self.complete.back().is_some_and(|last| last.mark == *mark);
        if !known && self.partial.seen.len() >= *of as usize {
            self.completed(*mark, at, mono);
        }
    }

    fn count(&mut self, mark: Position, n: u32, bytes: usize) {
        if self.partial.mark != mark {
            self.partial = Partial {
                mark,
                ..Partial::default()
            };
        }
        if self.partial.seen.insert(n) {
            self.partial.size += bytes;
        }
    }

    fn completed(&mut self, mark: Position, at: Position, mono: u64) {
        self.complete.push_back(Complete {
            mark,
            at,
            size: self.partial.size,
            since: mono,
        });
        if self.complete.len() > 2 {
            self.complete.pop_front();
        }
        self.grown = self.since_mark;
        self.due = None;
    }

    /// A part was read by a member that has no state yet.
    pub(super) fn part_size(&mut self, record: &Record, bytes: usize) {
        if let Record::Part { mark, n, .. } = record {
            self.count(*mark, *n, bytes);
        }
    }

    /// The state was taken from the snapshot of this mark, whose last part lies at `at`.
    pub(super) fn took(&mut self, mark: Mark, at: Position, mono: u64) {
        self.mark = Some((mark, mono));
        (self.grown, self.since_mark) = (0, 0);
        self.completed(mark.at, at, mono);
    }

    /// A mark held.
    pub(super) fn marked(&mut self, mark: Mark, mono: u64) {
        self.mark = Some((mark, mono));
        self.to_report = Some(mark);
        self.votes.clear();
        self.disputed = false;
        self.since_mark = 0;
        self.due = None;
    }

    /// The hash for the next report.
    pub(super) fn mark_to_report(&mut self) -> Option<(Position, u64)> {
        self.to_report.take().map(|mark| (mark.at, mark.hash))
    }

    /// This life is over: its snapshot is left to others.
    pub(super) fn stop_writing(&mut self) {
        self.writing.clear();
    }

    /// The log is read anew.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Member {
    /// Another member's hash at a mark was read.
    pub(super) fn vote_read(&mut self, member: &MemberId, mark: Position, hash: u64) {
        let Some((mine, _)) = self.snapshots.mark else {
            return;
        };
        if *member == self.id || mine.at != mark {
            return;
        }
        self.snapshots.votes.insert(member.clone(), hash);
        if hash == mine.hash {
            return;
        }
        if !std::mem::replace(&mut self.snapshots.disputed, true) {
            self.snapshots.complete.retain(|complete| complete.mark != mark);
            self.snapshots.writing.clear();
            self.warn(format!(
                "member {member} has another state than this one at the log's mark {mark}: no snapshot of it is used"
            ));
        }
        let same = self
            .snapshots
            .votes
            .values()
            .filter(|vote| **vote == hash)
            .count();
        if self.lives() && same * 2 > self.state.members.len() {
            self.fatal(format!(
                "its state differs from that of most members at the log's mark {mark}: it has read the group's log \
                 wrongly and must not go on. Restart it, with the same version as the others"
            ));
        }
    }

    /// Its own mark was read: this is the state to be written.
    pub(super) fn begin_snapshot(&mut self) {
        let Some((mark, _)) = self.snapshots.mark else {
            return;
        };
        let parts = snapshot::parts(&self.state, mark.at);
        self.snapshots.mark_of_writing = mark.at;
        self.snapshots.writing = (0..)
            .zip(&parts)
            .map(|(n, part)| Piece {
                n,
                id: None,
                payload: part.encode(),
                again: 0,
                tries: 0,
            })
            .collect();
    }

    /// Writes a mark if one is due, the parts of its snapshot, and cuts the log.
    pub(super) fn write_snapshot(&mut self) {
        self.write_mark();
        self.write_parts();
        self.cut_log();
    }

    fn mark_is_due(&self) -> bool {
        let snapshots = &self.snapshots;
        let last_mark = self.state.mark.map(|mark| mark.at);
        if last_mark.is_some_and(|mark| self.reader.next() < mark.offset() + MARK_DISTANCE) {
            return false;
        }
        let last = snapshots.complete.back();
        let under_way = snapshots.mark.is_some_and(|(mark, read)| {
            last.is_none_or(|last| last.mark != mark.at) && self.now.mono < read + self.settings.session
        });
        let start = self.reader.start();
        let lost = start > 0 && last.is_none_or(|last| last.mark.offset() < start);
        let limit = last
            .map_or(0, |last| 4 * last.size)
            .max(self.settings.snapshot_bytes);
        !under_way && (lost || snapshots.grown > limit)
    }

    fn write_mark(&mut self) {
        if !self.mark_is_due() {
            self.snapshots.due = None;
            return;
        }
        let now = self.now.mono;
        let (since, again, tries) = *self.snapshots.due.get_or_insert((now, now, 0));
        let turn = self.mark_turn();
        if turn.is_none_or(|turn| now < again.max(since + turn)) {
            return;
        }
        let id = self.flights.next_id();
        let payload = Record::Mark { by: self.id.clone() }.encode();
        self.actions.push(Action::Append { id, payload });
        let again = now + self.backoff(tries);
        self.snapshots.due = Some((since, again, tries + 1));
    }

    /// Whoever did not finish its last snapshot lets others go first.
    fn mark_turn(&self) -> Option<u64> {
        let session = self.settings.session;
        let last = self.snapshots.mark.map(|(mark, _)| mark.at);
        let failed = last == Some(self.snapshots.mark_of_writing);
        let finished = self.snapshots.complete.back().map(|complete| complete.mark) == last;
        let aside = if failed && !finished { session } else { 0 };
        Some(self.my_turn(session / 2)? + aside)
    }

    fn write_parts(&mut self) {
        if !self.lives() {
            return;
        }
        let now = self.now.mono;
        for index in 0..self.snapshots.writing.len().min(WINDOW) {
            let piece = &self.snapshots.writing[index];
            if piece.id.is_some() && now < piece.again {
                continue;
            }
            let (id, tries) = (piece.id, piece.tries);
            let again = now + self.backoff(tries);
            let id = id.unwrap_or_else(|| self.flights.next_id());
            let piece = &mut self.snapshots.writing[index];
            (piece.id, piece.again, piece.tries) = (Some(id), again, piece.tries + 1);
            let payload = piece.payload.clone();
            self.actions.push(Action::Append { id, payload });
        }
    }

    /// Where the log may be cut, and from when on this member may do it.
    fn next_cut(&self) -> Option<(i64, u64)> {
        let snapshots = &self.snapshots;
        let [before, last] = [snapshots.complete.front()?, snapshots.complete.get(1)?];
        let at = if self.rules.has(Rule::SnapshotCut) {
            before.mark.offset()
        } else {
            before.at.offset()
        };
        if at <= self.reader.start() {
            return None;
        }
        let is_last = snapshots.mark.is_some_and(|(mark, _)| mark.at == last.mark);
        let mut others = self
            .state
            .members
            .iter()
            .filter(|(id, info)| **id != self.id && info.joined < last.mark);
        let all_voted = is_last && others.all(|(id, _)| snapshots.votes.contains_key(id));
        let patience = if all_voted { 0 } else { self.settings.session };
        let turn = self.my_turn(self.settings.session / 2)?;
        let again = if snapshots.cut.0 == at { snapshots.cut.1 } else { 0 };
        Some((at, (last.since + patience + turn).max(again)))
    }

    fn cut_log(&mut self) {
        if let Some((before, at)) = self.next_cut()
            && self.now.mono >= at
        {
            self.snapshots.cut = (before, self.now.mono + 6 * self.settings.session);
            self.actions.push(Action::Truncate { before });
        }
    }

    pub(super) fn snapshot_wake(&self) -> Option<u64> {
        if !self.lives() {
            return None;
        }
        let turn = self.mark_turn();
        let due = self
            .snapshots
            .due
            .zip(turn)
            .map(|((since, again, _), turn)| again.max(since + turn));
        let parts = self.snapshots.writing.iter().take(WINDOW);
        let parts = parts
            .map(|piece| if piece.id.is_some() { piece.again } else { 0 })
            .min();
        let cut = self.next_cut().map(|(_, at)| at);
        [due, parts, cut].into_iter().flatten().min()
    }
}
