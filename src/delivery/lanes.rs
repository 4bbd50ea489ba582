//! Keys → order and parallelism: who waits for whom.
//!
//! Records with one key form a lane; its head alone may run. Entries are linked within one arena: offering and
//! finishing a record allocates nothing once the arena has grown.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::dedup::EventId;
use super::limits::Kind;
use super::retry::Tries;
use super::{Claim, Reason};

/// The place of an entry. Used again once it is free: [`super::Attempt`] tells two users of it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId(u32);

/// What makes two records wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneKey {
    /// The hash of a key within a partition; its replay topic's partition shares the number.
    Key(u32, u64),
    /// A record that waits for none.
    Free(Claim, i64),
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not started: behind another, not due, or without a slot.
    Waiting,
    /// Its body was asked for.
    Loading,
    /// It may start as soon as a slot of this kind is free.
    Ready(Kind),
    /// A handler has it.
    Running {
        /// The attempt's number.
        attempt: u64,
        /// The slot that it holds.
        kind: Kind,
        /// Whether it tries an open breaker.
        probe: bool,
        /// It may still run until then, when it is lost: milliseconds of the monotonic clock.
        deadline: u64,
    },
    /// Its dead letter waits for the lease or is being written (then with the attempt's number).
    Dead(Option<u64>),
}

/// Whether a lane stands still: what is in it takes room that no other record gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stall {
    /// It does not.
    #[default]
    None,
    /// Its head has failed and waits.
    Held,
    /// Its head is proven to be bad; or one before it was, and none has succeeded since.
    Bad,
}

/// Records of a partition that stand still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stalled {
    /// In lanes that are [`Stall::Held`] or [`Stall::Bad`].
    pub all: usize,
    /// In those that are [`Stall::Bad`].
    pub bad: usize,
}

/// Which part of the buffer a body takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// The one for what comes.
    Fetched,
    /// The one for what comes again.
    Reloaded,
}

/// A record that is not finished.
#[derive(Debug)]
pub struct Entry<B> {
    /// Whose it is.
    pub claim: Claim,
    /// Its offset.
    pub offset: i64,
    /// One behind its last offset: more than `offset + 1` for a batch that cannot be decoded.
    pub end: i64,
    /// Its lane.
    pub lane: LaneKey,
    /// Its timestamp, in milliseconds since the epoch.
    pub timestamp: i64,
    /// The id to compare.
    pub id: Option<EventId>,
    /// The body, while it is in the buffer.
    pub body: Option<B>,
    /// What the body takes of the buffer, in bytes.
    pub size: u32,
    /// Its size counts in the buffer.
    pub charged: Option<Charge>,
    /// Where it stands.
    pub stage: Stage,
    /// The attempts so far.
    pub tries: Tries,
    /// Not before this: milliseconds of the monotonic clock.
    pub due: u64,
    /// Its last attempt was lost and may still run until then: milliseconds of the monotonic clock.
    pub lost_until: u64,
    /// It is in the list of those that become due.
    pub timed: bool,
    /// It is to go to the dead letters.
    pub dead: Option<Reason>,
    /// Writes of its dead letter that failed.
    pub unwritten: u32,
    /// When it came: milliseconds of the monotonic clock.
    pub arrived: u64,
    /// An operator has skipped it while it was in flight.
    pub skipped: bool,
    /// What the last attempt ended with.
    pub why: Option<Arc<str>>,
    stall: Stall,
    before: u32,
    behind: u32,
}

impl<B> Entry<B> {
    /// A record that has just arrived.
    pub fn new(claim: Claim, offset: i64, lane: LaneKey, timestamp: i64) -> Self {
        Self {
            claim,
            offset,
            end: offset + 1,
            lane,
            timestamp,
            id: None,
            body: None,
            size: 0,
            charged: None,
            stage: Stage::Waiting,
            tries: Tries::default(),
            due: 0,
            lost_until: 0,
            timed: false,
            dead: None,
            unwritten: 0,
            arrived: 0,
            skipped: false,
            why: None,
            stall: Stall::None,
            before: NONE,
            behind: NONE,
        }
    }

    /// Its place among those that are ready for a slot of this kind.
    pub fn ready_key(&self, kind: Kind) -> i64 {
        match kind {
            Kind::Fresh => self.offset,
            Kind::Again => i64::try_from(self.due).unwrap_or(i64::MAX),
        }
    }

    /// Whether its lane stands still.
    pub fn stall(&self) -> Stall {
        self.stall
    }

    /// Whether it keeps its lane waiting because it failed.
    pub fn is_held(&self) -> bool {
        self.tries.tries > 0 || self.dead.is_some()
    }
}

/// No entry.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Lane {
    head: u32,
    tail: u32,
    len: u32,
    /// Entries with a body.
    loaded: u32,
    stall: Stall,
    /// The head waits until this offset is in a report.
    reported: Option<(Claim, i64)>,
}

impl Lane {
    const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
        len: 0,
        loaded: 0,
        stall: Stall::None,
        reported: None,
    };
}

/// Mixes the words of a [`LaneKey`], of which one is a hash already. Without a seed: equal in each process.
#[derive(Debug, Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(u64::try_from(word).unwrap_or(u64::MAX));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        // The map goes by the lowest bits and the highest: multiplying has mixed these alone.
        self.0 ^ (self.0 >> 32)
    }
}

/// All lanes of the process.
#[derive(Debug)]
pub struct Lanes<B> {
    entries: Vec<Option<Entry<B>>>,
    free: Vec<u32>,
    /// Never gone through, so that its order shows nowhere; of ten thousand keys a tree takes several times as long.
    lanes: HashMap<LaneKey, Lane, BuildHasherDefault<Mixer>>,
    stalled: BTreeMap<Claim, Stalled>,
}

impl<B> Default for Lanes<B> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            lanes: HashMap::default(),
            stalled: BTreeMap::new(),
        }
    }
}

impl<B> Lanes<B> {
    /// Puts a record at the end of its lane.
    pub fn offer(&mut self, mut entry: Entry<B>) -> EntryId {
        let key = entry.lane;
        let loaded = u32::from(entry.body.is_some());
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
        });
        if let LaneKey::Key(..) = key {
            let lane = self.lanes.entry(key).or_insert(Lane::EMPTY);
            entry.before = lane.tail;
            entry.stall = lane.stall;
            count(&mut self.stalled, entry.claim, entry.stall, true);
            if lane.head == NONE {
                lane.head = index;
            }
            let tail = std::mem::replace(&mut lane.tail, index);
            lane.len += 1;
            lane.loaded += loaded;
            if let Some(Some(tail)) = self.entries.get_mut(tail as usize) {
                tail.behind = index;
            }
        }
        if let Some(place) = self.entries.get_mut(index as usize) {
            *place = Some(entry);
        }
        EntryId(index)
    }

    /// Takes a record out of its lane; also the entry that became the head by that.
    pub fn remove(&mut self, id: EntryId) -> Option<(Entry<B>, Option<EntryId>)> {
        let entry = self.entries.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        count(&mut self.stalled, entry.claim, entry.stall, false);
        if let Some(Some(before)) = self.entries.get_mut(entry.before as usize) {
            before.behind = entry.behind;
        }
        if let Some(Some(behind)) = self.entries.get_mut(entry.behind as usize) {
            behind.before = entry.before;
        }
        let mut head = None;
        if let Some(lane) = self.lanes.get_mut(&entry.lane) {
            lane.len -= 1;
            lane.loaded -= u32::from(entry.body.is_some());
            if lane.tail == id.0 {
                lane.tail = entry.before;
            }
            if lane.head == id.0 {
                lane.head = entry.behind;
                head = (lane.head != NONE).then_some(EntryId(lane.head));
            }
            if lane.len == 0 && lane.reported.is_none() {
                self.lanes.remove(&entry.lane);
            }
        }
        Some((entry, head))
    }

    /// An entry.
    pub fn get(&self, id: EntryId) -> Option<&Entry<B>> {
        self.entries.get(id.0 as usize)?.as_ref()
    }

    /// An entry. Its body is changed by [`Self::load`] and [`Self::unload`] alone.
    pub fn get_mut(&mut self, id: EntryId) -> Option<&mut Entry<B>> {
        self.entries.get_mut(id.0 as usize)?.as_mut()
    }

    /// Whether nothing of its lane is before it, and the report that its lane waits for is there.
    pub fn is_head(&self, id: EntryId) -> bool {
        match self.get(id).map(|entry| entry.lane) {
            Some(LaneKey::Free(..)) => true,
            Some(key) => {
                let lane = self.lanes.get(&key);
                lane.is_some_and(|lane| lane.head == id.0 && lane.reported.is_none())
            }
            None => false,
        }
    }

    /// The first of a lane.
    pub fn head(&self, key: &LaneKey) -> Option<EntryId> {
        let lane = self.lanes.get(key)?;
        (lane.head != NONE).then_some(EntryId(lane.head))
    }

    /// The one behind it in its lane.
    pub fn behind(&self, id: EntryId) -> Option<EntryId> {
        let behind = self.get(id)?.behind;
        (behind != NONE).then_some(EntryId(behind))
    }

    /// Entries of a lane with a body, and without one.
    pub fn loaded(&self, key: &LaneKey) -> (u32, u32) {
        self.lanes
            .get(key)
            .map_or((0, 0), |lane| (lane.loaded, lane.len - lane.loaded))
    }

    /// Notes whether the lane of this head stands still; of a record without a lane, whether it does.
    pub fn set_stall(&mut self, head: EntryId, stall: Stall) {
        let Some(key) = self.get(head).map(|entry| entry.lane) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.stall = stall;
        }
        let mut next = Some(head);
        while let Some(id) = next {
            let Some(Some(entry)) = self.entries.get_mut(id.0 as usize) else {
                return;
            };
            let was = std::mem::replace(&mut entry.stall, stall);
            if was == stall {
                // And so are those behind it.
                return;
            }
            count(&mut self.stalled, entry.claim, was, false);
            count(&mut self.stalled, entry.claim, stall, true);
            next = (entry.behind != NONE).then_some(EntryId(entry.behind));
        }
    }

    /// A lane stands still no more.
    pub fn relax(&mut self, key: &LaneKey) {
        if let Some(head) = self.head(key) {
            self.set_stall(head, Stall::None);
        } else if let Some(lane) = self.lanes.get_mut(key) {
            lane.stall = Stall::None;
        }
    }

    /// How many records of a partition stand still.
    #[must_use]
    pub fn stalled(&self, claim: Claim) -> Stalled {
        self.stalled.get(&claim).copied().unwrap_or_default()
    }

    /// Gives an entry its body.
    pub fn load(&mut self, id: EntryId, body: B, size: u32) {
        let Some(entry) = self.get_mut(id) else { return };
        let was = entry.body.replace(body).is_some();
        entry.size = size;
        let key = entry.lane;
        if let (false, Some(lane)) = (was, self.lanes.get_mut(&key)) {
            lane.loaded += 1;
        }
    }

    /// Takes the body away; the bytes that this frees.
    pub fn unload(&mut self, id: EntryId) -> Option<u32> {
        let entry = self.get_mut(id)?;
        entry.body.take()?;
        let (key, size) = (entry.lane, entry.size);
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.loaded -= 1;
        }
        Some(size)
    }

    /// The lane's next record waits until this offset is in a report.
    pub fn await_report(&mut self, key: LaneKey, claim: Claim, offset: i64) {
        if let LaneKey::Key(..) = key {
            let lane = self.lanes.entry(key).or_insert(Lane::EMPTY);
            lane.reported = Some((claim, offset));
        }
    }

    /// The report is there: the entry that may run now.
    pub fn reported(&mut self, key: &LaneKey, claim: Claim, offset: i64) -> Option<EntryId> {
        let lane = self.lanes.get_mut(key)?;
        if lane.reported != Some((claim, offset)) {
            return None;
        }
        lane.reported = None;
        if lane.len == 0 {
            self.lanes.remove(key);
            return None;
        }
        Some(EntryId(lane.head))
    }

    /// Entries that are not finished.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether all is finished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Counts an entry, or no more.
fn count(stalled: &mut BTreeMap<Claim, Stalled>, claim: Claim, stall: Stall, more: bool) {
    if stall == Stall::None {
        return;
    }
    let of = stalled.entry(claim).or_default();
    let add = |number: &mut usize| *number = if more { *number + 1 } else { *number - 1 };
    add(&mut of.all);
    if stall == Stall::Bad {
        add(&mut of.bad);
    }
    if of.all == 0 {
        stalled.remove(&claim);
    }
}

#[cfg(test)]
mod tests;
