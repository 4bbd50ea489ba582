//! The invariants, checked with each record of the log, against a replica of its own:
//!
//! - S1b: a partition's token grows with each owner;
//! - S2: no progress covers an offset that no handler has finished since the last reset;
//! - S3: a member that has read what another has read has the same state, from the log's start or from a snapshot;
//! - S4: a void record changes nothing;
//! - S5: a logical record takes effect once, however often it was sent.
//!
//! S1 (and S6, that nothing is repeated behind a later record of its key) are checked where handlers start.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::log::{Logged, Logical};
use super::world::{Checked, Violation};
use crate::group::member::Member;
use crate::group::record::{MemberId, PartitionId, Record, Token};
use crate::group::rules::Rules;
use crate::group::state::{PartitionState, State};
use crate::progress::Progress;

/// An offset of a topic's partition: the topic by its id.
type Work = ([u8; 16], i32, i64);

/// What the checks remember of a partition since the last record.
#[derive(Debug, Default)]
struct Shadow {
    topic: [u8; 16],
    owner: Option<MemberId>,
    token: Option<Token>,
    progress: Progress,
    /// Finished offsets are at or above it: the first position, or where the last reset put it.
    base: i64,
    /// What counts was finished under this token or a later one.
    since: Option<Token>,
}

/// What an append did.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) held: bool,
    pub(super) expired: Option<MemberId>,
    /// Partitions that got another owner.
    pub(super) moves: u64,
}

#[derive(Debug)]
pub(super) struct Checks {
    rules: Rules,
    /// Only the replica is kept.
    light: bool,
    /// Partitions begin at their ends, unless they come late.
    latest: bool,
    pub(super) oracle: State,
    shadows: BTreeMap<PartitionId, Shadow>,
    /// The state's hash after the record of that offset, each `stride`th.
    hashes: BTreeMap<i64, u64>,
    stride: i64,
    effective: BTreeSet<Logical>,
    completed: HashMap<Work, Token>,
    /// What operators took for finished, in a piece of the log that was lost since too.
    skipped: HashSet<Work>,
    /// How often a handler was started for an offset.
    pub(super) starts: HashMap<Work, u32>,
    /// The highest token that a handler, or a store behind it, has seen.
    pub(super) tokens: BTreeMap<PartitionId, Token>,
}

impl Checks {
    pub(super) fn new(rules: Rules, stride: i64, latest: bool) -> Self {
        Self {
            rules,
            light: false,
            latest,
            oracle: State::default(),
            shadows: BTreeMap::new(),
            hashes: BTreeMap::new(),
            stride,
            effective: BTreeSet::new(),
            completed: HashMap::new(),
            skipped: HashSet::new(),
            starts: HashMap::new(),
            tokens: BTreeMap::new(),
        }
    }

    /// For large groups: only the replica is kept.
    pub(super) fn light(rules: Rules) -> Self {
        Self {
            light: true,
            ..Self::new(rules, i64::MAX, false)
        }
    }

    pub(super) fn started(&mut self, topic: [u8; 16], partition: &PartitionId, offset: i64, token: Token) {
        *self.starts.entry((topic, partition.1, offset)).or_default() += 1;
        match self.tokens.get_mut(partition) {
            Some(seen) => *seen = token.max(*seen),
            None => {
                self.tokens.insert(partition.clone(), token);
            }
        }
    }

    pub(super) fn completed(&mut self, topic: [u8; 16], partition: &PartitionId, offset: i64, token: Token) {
        let last = self
            .completed
            .entry((topic, partition.1, offset))
            .or_insert(token);
        *last = token.max(*last);
    }

    /// Applies a record of the log to the replica, and checks what it did.
    pub(super) fn append(&mut self, logged: &Logged) -> Checked<Seen> {
        let counted = !self.light && logged.offset % self.stride == 0;
        let before = counted.then(|| self.oracle.hash());
        let position = logged.position();
        let held = match &logged.sent.record {
            Some(record) => self.oracle.apply(self.rules, position, record).held,
            None => false,
        };
        if let Some(before) = before {
            let after = self.oracle.hash();
            self.hashes.insert(logged.offset, after);
            if !held && before != after {
                return Err(Violation("S4 a void record changed the state".to_owned()));
            }
        }
        let mut seen = Seen {
            held,
            expired: None,
            moves: 0,
        };
        let Some(record) = logged.sent.record.as_ref().filter(|_| held) else {
            return Ok(seen);
        };
        // These two say nothing but "here": where they come late, they mean there.
        if !matches!(record, Record::Mark { .. } | Record::Renew { .. })
            && !self.effective.insert(logged.sent.logical)
        {
            return Err(Violation(format!(
                "S5 one logical record took effect twice: {}",
                super::story::record(Some(record))
            )));
        }
        if let Record::Expire { member, .. } = record {
            seen.expired = Some(member.clone());
        }
        if self.light {
            return Ok(seen);
        }
        seen.moves = self.compare(logged, record)?;
        Ok(seen)
    }

    /// S3.
    pub(super) fn replica(
        &self,
        slot: usize,
        member: &Member,
        logged: &Rc<Logged>,
        log: &[Rc<Logged>],
    ) -> Checked {
        let Some(expected) = self.hashes.get(&logged.offset) else {
            return Ok(());
        };
        let offset = usize::try_from(logged.offset).unwrap_or(0);
        let same = log.get(offset).is_some_and(|there| Rc::ptr_eq(there, logged));
        if !same || member.state().level == 0 || member.state().hash() == *expected {
            return Ok(());
        }
        Err(Violation(format!(
            "S3 slot {slot} differs from the others after {}",
            logged.offset
        )))
    }

    /// Whether an operator took that offset for finished.
    pub(super) fn was_skipped(&self, topic: [u8; 16], partition: &PartitionId, offset: i64) -> bool {
        self.skipped.contains(&(topic, partition.1, offset))
    }

    /// The log lost its tail: the replica is what the rest adds up to.
    pub(super) fn replay(&mut self, log: &[Rc<Logged>]) -> Checked {
        let fresh = Self::new(self.rules, self.stride, self.latest);
        let old = std::mem::replace(self, fresh);
        self.completed = old.completed;
        self.skipped.extend(old.skipped);
        self.starts = old.starts;
        self.tokens = old.tokens;
        for logged in log {
            self.append(logged)?;
        }
        Ok(())
    }

    /// S1b and S2 for each partition that the record changed. Returns how many got another owner.
    fn compare(&mut self, logged: &Logged, record: &Record) -> Checked<u64> {
        let mut moves = 0;
        let own = Token::granted(self.oracle.floor, logged.position());
        for (partition, now) in &self.oracle.partitions {
            let Some(topic) = self.oracle.topics.get(&partition.0).map(|topic| topic.id) else {
                continue;
            };
            let shadow = match self.shadows.get_mut(partition) {
                Some(shadow) => shadow,
                None => self.shadows.entry(partition.clone()).or_default(),
            };
            if shadow.topic != topic {
                *shadow = Shadow {
                    topic,
                    token: shadow.token,
                    ..Shadow::default()
                };
            }
            if now.owner != shadow.owner {
                moves += u64::from(now.owner.is_some());
                if now.owner.is_some() && now.token <= shadow.token {
                    return Err(at(
                        partition,
                        "S1b its new owner's token is not above the last one",
                    ));
                }
                shadow.owner.clone_from(&now.owner);
            }
            if now.token < shadow.token {
                return Err(at(partition, "S1b its token went back"));
            }
            operator(record, partition, own, shadow, &mut self.skipped);
            if now.progress.next != shadow.progress.next || now.progress.done != shadow.progress.done {
                covered(
                    partition,
                    now,
                    shadow,
                    &self.completed,
                    &self.skipped,
                    self.latest,
                )?;
                shadow.progress.next = now.progress.next;
                shadow.progress.done = now.progress.done.clone();
            }
            shadow.token = now.token;
        }
        Ok(moves)
    }
}

/// What an operator's record changes in what counts as finished.
fn operator(
    record: &Record,
    partition: &PartitionId,
    own: Token,
    shadow: &mut Shadow,
    skips: &mut HashSet<Work>,
) {
    match record {
        Record::Reset { partitions, .. } => {
            let Some((_, to, seen)) = partitions.iter().find(|(reset, ..)| reset == partition) else {
                return;
            };
            if *seen == shadow.token.unwrap_or(Token::NONE) {
                shadow.progress = Progress {
                    next: *to,
                    ..Progress::default()
                };
                shadow.base = to.unwrap_or(0);
                shadow.since = Some(own);
            }
        }
        Record::Skip {
            partition: skipped,
            offset,
            ..
        } if skipped == partition => {
            skips.insert((shadow.topic, partition.1, *offset));
        }
        _ => {}
    }
}

/// S2: what is finished now and was not before has been finished by a handler, or skipped.
fn covered(
    partition: &PartitionId,
    now: &PartitionState,
    shadow: &mut Shadow,
    completed: &HashMap<Work, Token>,
    skipped: &HashSet<Work>,
    latest: bool,
) -> Checked {
    let Some(next) = now.progress.next else {
        return Err(at(partition, "S2 its progress is gone"));
    };
    let before = match shadow.progress.next {
        Some(before) => before,
        None if latest && !now.late => {
            shadow.base = next; // its first position
            return Ok(());
        }
        None => 0, // it begins at its beginning
    };
    if next < before {
        return Err(at(
            partition,
            &format!("S2 its progress went back from {before} to {next}"),
        ));
    }
    let above = now.progress.done.iter().flat_map(|(start, end)| start..end);
    for offset in (before..next).chain(above) {
        let work = (shadow.topic, partition.1, offset);
        if offset < shadow.base || shadow.progress.done.contains(offset) || skipped.contains(&work) {
            continue;
        }
        let token = completed.get(&work).copied();
        if token.is_none() || token < shadow.since {
            return Err(at(
                partition,
                &format!("S2 its progress covers {offset}, which nobody finished (next {next})"),
            ));
        }
    }
    Ok(())
}

fn at(partition: &PartitionId, what: &str) -> Violation {
    Violation(format!("{what}: {}-{}", partition.0, partition.1))
}
