//! A group's log told as a story: who came and went, what moved and how long that took, what operators did.
//!
//! Pure. Times are the records' own, from their writers' clocks: between two writers they are as right as those are.

mod event;
mod teller;
#[cfg(test)]
mod tests;
mod text;

use serde::{Serialize, Serializer};

pub use event::{Event, Jump, Move, Partitions, Place, Who};
pub use teller::Teller;

use super::record::{Position, Record, Unreadable};
use super::rules::Rules;
use super::snapshot::Collector;
use super::state::State;

/// A record of the log: where it lies, its time in milliseconds since 1970, and what it says.
pub type Line = (Position, i64, Result<Record, Unreadable>);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The time of its record, in milliseconds since 1970; in JSON as RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    pub time: i64,
    /// The offset of its record.
    pub offset: i64,
    /// The leader epoch of its record.
    pub epoch: i32,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// RFC 3339 in UTC with milliseconds; empty if beyond what a calendar has.
fn rfc3339<S: Serializer>(millis: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    let time = chrono::DateTime::from_timestamp_millis(*millis);
    let text = time.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    serializer.serialize_str(&text.unwrap_or_default())
}

/// Tells a whole log, as far as it is still there: from its first record, or from its first whole snapshot.
#[must_use]
pub fn story(log: &[Line]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let begins = log.iter().find_map(|(_, _, record)| record.as_ref().ok());
    let (mut state, mut teller, rest) = if log.is_empty() || matches!(begins, Some(Record::Found { .. })) {
        (State::default(), Teller::default(), log)
    } else if let Some((state, rest)) = first_snapshot(log) {
        let teller = Teller::knowing(&state);
        if let (Some(mark), Some((at, time, _))) = (state.mark, log.first()) {
            let members = state.members.keys().map(|id| teller.who(id)).collect();
            let mark_offset = mark.at.offset();
            entries.push(entry(*at, *time, Event::Continued { mark_offset, members }));
        }
        (state, teller, rest)
    } else {
        let (at, time) = log
            .first()
            .map_or((Position::ZERO, 0), |(at, time, _)| (*at, *time));
        return vec![entry(at, time, Event::Untold { records: log.len() })];
    };
    for (at, time, record) in rest {
        match record {
            Ok(record) => {
                let applied = state.apply(Rules::all(), *at, record);
                entries.extend(teller.tell(*at, *time, record, &applied));
            }
            Err(why) => {
                let (record, by, why) = ("record", None, why.to_string());
                entries.push(entry(*at, *time, Event::Void { record, by, why }));
            }
        }
    }
    entries
}

/// The state as of the first mark that has a whole snapshot, and what comes after that mark.
fn first_snapshot(log: &[Line]) -> Option<(State, &[Line])> {
    let mut collector = Collector::new(Rules::all());
    let readable = log
        .iter()
        .filter_map(|(at, _, record)| Some((*at, record.as_ref().ok()?)));
    let state = readable
        .into_iter()
        .find_map(|(at, record)| collector.read(at, record))?;
    let mark = state.mark?.at;
    let after = log.iter().position(|(at, _, _)| *at > mark).unwrap_or(log.len());
    Some((state, &log[after..]))
}

fn entry(at: Position, time: i64, event: Event) -> Entry {
    Entry {
        time,
        offset: at.offset(),
        epoch: at.epoch(),
        event,
    }
}
