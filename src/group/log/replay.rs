//! A group's log read by someone who is no member: for `groups` commands, and to write an administrator's record.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Log, LogError, LogRecord, reader::Reader};
use crate::broker::cluster::Cluster;
use crate::clock;
use crate::group::record::{MemberId, Note, Position, Record, Unreadable};
use crate::group::rules::Rules;
use crate::group::snapshot::Collector;
use crate::group::state::{Applied, State};

/// How often an administrator's decision is made anew when the group was faster.
const TRIES: u32 = 5;
/// How long a broker may wait for the record that is to be read back.
const WAIT: Duration = Duration::from_millis(500);

/// A line of a log: where the record lies, its time in milliseconds since 1970, and what it says.
pub type Line = (Position, i64, Result<Record, Unreadable>);

/// A group as its log tells it.
#[derive(Debug)]
pub struct Replayed {
    /// The group as of the last record.
    pub state: State,
    /// All the records that are there. The oldest ones may be from before the state's snapshot.
    pub story: Vec<Line>,
    /// The log's first offset.
    pub start: i64,
    /// The offset behind its last record.
    pub end: i64,
}

impl Replayed {
    /// The last note of each living member, and its time in milliseconds since 1970.
    #[must_use]
    pub fn notes(&self) -> BTreeMap<&MemberId, (i64, &Note)> {
        let mut notes = BTreeMap::new();
        for (_, time, record) in &self.story {
            if let Ok(Record::Note { member, note }) = record
                && self.state.members.contains_key(member)
            {
                notes.insert(member, (*time, note));
            }
        }
        notes
    }
}

/// What an administrator's record did.
#[derive(Debug)]
pub struct Administered {
    /// Where it lies.
    pub at: Position,
    /// What it says: the last one that was made.
    pub record: Record,
    /// What it changed.
    pub applied: Applied,
    /// The group as of it.
    pub state: State,
}

/// What came of an administrator's decision.
#[derive(Debug)]
pub enum Outcome {
    /// It was written, read back, and held.
    Held(Box<Administered>),
    /// It was written and read back, and did not hold although it was made anew several times.
    Void(Box<Administered>),
    /// There was nothing to be done.
    Nothing,
}

/// Reads a group's whole log.
///
/// # Errors
/// There is none, it cannot be read, or its beginning is lost without a snapshot.
pub async fn replay(cluster: &Cluster, group: &str) -> Result<Replayed, LogError> {
    let log = Log::open(cluster, group, false).await?;
    let (records, start, end) = log.read_all().await?;
    let mut replica = Replica::new(start);
    let mut story = Vec::with_capacity(records.len());
    for record in &records {
        let read = Record::decode(&record.payload);
        if let Ok(read) = &read {
            replica.read(record.at, read);
        }
        story.push((record.at, record.timestamp, read));
    }
    Ok(Replayed {
        state: replica.finish(&log)?,
        story,
        start,
        end,
    })
}

/// Decides something about a group and writes it: `decide` makes a record from the group's state, or nothing if there is
/// nothing to be done. The record is read back; if it did not hold, because the group was faster, it is decided anew.
///
/// # Errors
/// `decide`'s; the log's, as in [`replay`]; the record cannot be written, or is not read back within `--timeout`.
pub async fn administer<E: From<LogError>>(
    cluster: &Cluster,
    group: &str,
    mut decide: impl FnMut(&State) -> Result<Option<Record>, E>,
) -> Result<Outcome, E> {
    let log = Log::open(cluster, group, false).await?;
    let (records, start, end) = log.read_all().await?;
    let mut replica = Replica::new(start);
    for record in &records {
        if let Ok(read) = Record::decode(&record.payload) {
            replica.read(record.at, &read);
        }
    }
    let mut state = replica.finish(&log)?;
    let mut reader = log.reader(end);
    for tries in 1.. {
        let Some(record) = decide(&state)? else {
            return Ok(Outcome::Nothing);
        };
        let payload = record.encode();
        write(cluster, &log, &payload).await?;
        let (at, applied) = read_back(cluster, &log, &mut reader, &mut state, &payload).await?;
        let held = applied.held;
        if held || tries == TRIES {
            let administered = Box::new(Administered {
                at,
                record,
                applied,
                state,
            });
            return Ok(match held {
                true => Outcome::Held(administered),
                false => Outcome::Void(administered),
            });
        }
        tracing::debug!("{} was void: deciding anew", record.kind());
    }
    Ok(Outcome::Nothing)
}

async fn write(cluster: &Cluster, log: &Log, payload: &[u8]) -> Result<(), LogError> {
    let written = cluster.retry(|| log.append(payload)).await;
    written.map_err(|error| LogError::of_write(error, log.topic()))?;
    Ok(())
}

/// Reads until this payload comes by, and tells what it did. Two tries of a write may both have come through: the first
/// one counts, the second is void as it saw an older state.
async fn read_back(
    cluster: &Cluster,
    log: &Log,
    reader: &mut Reader,
    state: &mut State,
    payload: &[u8],
) -> Result<(Position, Applied), LogError> {
    let within = cluster.settings().timeout;
    let deadline = clock::now() + within;
    loop {
        let mut found = None;
        for LogRecord {
            at, payload: read, ..
        } in reader.read_some(WAIT).await?
        {
            let Ok(record) = Record::decode(&read) else {
                continue;
            };
            let applied = state.apply(Rules::all(), at, &record);
            if *read == *payload && found.is_none() {
                found = Some((at, applied));
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
        if clock::now() >= deadline {
            return Err(LogError::NotReadBack {
                topic: log.topic().to_owned(),
                within,
            });
        }
    }
}

/// A state that is put together from a log: from its first record, or from its first usable snapshot.
#[derive(Debug)]
struct Replica {
    start: i64,
    state: State,
    /// Before there is a state: what has been read, and what it adds up to.
    waiting: Option<(Vec<(Position, Record)>, Collector)>,
}

impl Replica {
    fn new(start: i64) -> Self {
        Self {
            start,
            state: State::default(),
            waiting: (start > 0).then(|| (Vec::new(), Collector::new(Rules::all()))),
        }
    }

    fn read(&mut self, at: Position, record: &Record) {
        let founded = matches!(record, Record::Found { .. });
        if founded && self.waiting.as_ref().is_some_and(|(kept, _)| kept.is_empty()) {
            // It was rebuilt: all that was before is deleted.
            self.waiting = None;
        }
        let Some((kept, collector)) = &mut self.waiting else {
            self.state.apply(Rules::all(), at, record);
            return;
        };
        kept.push((at, record.clone()));
        let Some(state) = collector.read(at, record) else {
            return;
        };
        let mark = state.mark.map_or(Position::ZERO, |mark| mark.at);
        self.state = state;
        for (at, record) in kept.iter().filter(|(at, _)| *at > mark) {
            self.state.apply(Rules::all(), *at, record);
        }
        self.waiting = None;
    }

    fn finish(self, log: &Log) -> Result<State, LogError> {
        match self.waiting {
            None => Ok(self.state),
            Some(_) => Err(LogError::NoSnapshot {
                topic: log.topic().to_owned(),
                start: self.start,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::state::MemberInfo;

    #[test]
    fn the_last_note_of_each_living_member_counts() {
        let (here, gone) = (MemberId::random(1), MemberId::random(2));
        let info = MemberInfo {
            instance: None,
            host: "h".to_owned(),
            topics: std::collections::BTreeSet::new(),
            session_ms: 10_000,
            speaks: 1,
            joined: Position::ZERO,
            beat: Position::ZERO,
            n: 0,
        };
        let mut state = State::default();
        state.members.insert(here.clone(), info);
        let line = |at, member: &MemberId, pause| {
            let note = Note {
                pause,
                ..Note::default()
            };
            let member = member.clone();
            (Position::new(0, at), at * 10, Ok(Record::Note { member, note }))
        };
        let story = vec![
            line(1, &here, Some(7)),
            line(2, &gone, Some(7)),
            line(3, &here, None),
            (Position::new(0, 4), 0, Err(Unreadable::NotJson)),
        ];
        let replayed = Replayed {
            state,
            story,
            start: 0,
            end: 5,
        };
        let notes: Vec<_> = replayed.notes().into_iter().collect();
        assert_eq!(notes, [(&here, (30, &Note::default()))]);
    }
}
