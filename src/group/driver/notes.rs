//! When what holds a member back is written to the log: when it is another thing, and not too often. Pure.

use crate::group::record::{MemberId, Note, Record};

/// Between two notes at least, in milliseconds.
const LEAST: u64 = 5_000;
/// A note of so many bytes may be written each second: where only details change, so that a group of which much is held
/// does not fill its log with that.
const BYTES_PER_SECOND: u64 = 100;
/// Between two notes at most, however large they are, in milliseconds.
const MOST: u64 = 300_000;

/// What was written.
#[derive(Debug)]
struct Written {
    member: MemberId,
    /// None if it may not be there.
    note: Option<Note>,
    size: u64,
    /// Its offset, when it is acknowledged.
    at: Option<i64>,
}

/// What was told, and what was written of it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    told: Note,
    written: Option<Written>,
    /// When the last one was written, or could not be (monotonic milliseconds).
    last: Option<u64>,
    writing: bool,
    /// The log's first offset.
    start: i64,
    wake: Option<u64>,
}

impl Notes {
    /// What holds it back now.
    pub(super) fn told(&mut self, note: Note) {
        self.told = note.bounded();
    }

    /// The log's first offset: what lies before it is gone.
    pub(super) fn log_begins(&mut self, start: i64) {
        self.start = start;
    }

    /// The record that is to be written now, if this process is a living member.
    pub(super) fn due(&mut self, mono: u64, me: Option<&MemberId>) -> Option<Record> {
        self.wake = None;
        let me = me?;
        let written = self.written.as_ref().filter(|written| written.member == *me);
        let (news, urgent) = match written {
            None => (!self.told.is_empty(), true),
            Some(written) => {
                let cut_off = written.at.is_some_and(|at| at < self.start);
                let there = written.note.as_ref();
                let news = there != Some(&self.told) || cut_off && !self.told.is_empty();
                (news, there.is_none_or(|there| there.differs(&self.told)))
            }
        };
        if self.writing || !news {
            return None;
        }
        let size = written.map_or(0, |written| written.size);
        let between = if urgent {
            LEAST
        } else {
            (size * 1_000 / BYTES_PER_SECOND).clamp(LEAST, MOST)
        };
        let at = self.last.map_or(0, |last| last + between);
        if mono < at {
            self.wake = Some(at);
            return None;
        }
        let (member, note) = (me.clone(), self.told.clone());
        self.last = Some(mono);
        self.writing = true;
        self.written = Some(Written {
            member: member.clone(),
            size: note.size() as u64,
            note: Some(note.clone()),
            at: None,
        });
        Some(Record::Note { member, note })
    }

    /// The record was written at this offset, or not.
    pub(super) fn written(&mut self, at: Option<i64>) {
        self.writing = false;
        if let Some(written) = &mut self.written {
            written.at = at;
            if at.is_none() {
                // It may be there all the same; a repeat does no harm, and one that says "nothing" must not be missing.
                written.note = None;
            }
        }
    }

    /// When one is due (monotonic milliseconds).
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.wake
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::record::{Holds, Last, Token, Waiting};

    fn note(offsets: impl IntoIterator<Item = i64>, excerpt: &str) -> Note {
        let waiting = |offset| Waiting {
            offset,
            last: Some(Last {
                outcome: "retry".to_owned(),
                status: Some("503".to_owned()),
                excerpt: excerpt.to_owned(),
            }),
            dead: None,
            unwritten: None,
        };
        let holds = Holds {
            token: Token::NONE,
            stopped: None,
            running: None,
            held: offsets.into_iter().map(waiting).collect(),
        };
        let mut note = Note::default();
        note.partitions.insert(("t".into(), 0), holds);
        note
    }

    fn me() -> MemberId {
        MemberId::random(1)
    }

    fn writes(notes: &mut Notes, mono: u64) -> bool {
        let due = notes.due(mono, Some(&me())).is_some();
        if due {
            notes.written(Some(7));
        }
        due
    }

    #[test]
    fn a_member_of_which_nothing_is_held_writes_nothing_and_is_not_woken() {
        let mut notes = Notes::default();
        notes.told(Note::default());
        assert!(!writes(&mut notes, 0) && !writes(&mut notes, u64::MAX));
        assert_eq!(notes.next_wake(), None);
    }

    #[test]
    fn what_is_the_same_is_written_once_and_its_end_is_written() {
        let mut notes = Notes::default();
        notes.told(note([1], "x"));
        assert!(writes(&mut notes, 0));
        notes.told(note([1], "x"));
        assert!(!writes(&mut notes, 1_000_000));
        assert_eq!(notes.next_wake(), None);
        notes.told(Note::default());
        assert!(writes(&mut notes, 1_000_000));
        assert!(!writes(&mut notes, 2_000_000));
    }

    #[test]
    fn five_seconds_are_between_two_and_more_where_much_is_held_and_details_change() {
        let mut notes = Notes::default();
        notes.told(note([1], "x"));
        assert!(writes(&mut notes, 0));
        notes.told(Note::default());
        assert!(!writes(&mut notes, 4_999));
        assert_eq!(notes.next_wake(), Some(5_000));
        assert!(writes(&mut notes, 5_000));
        let long = "x".repeat(200);
        notes.told(note(0..8, &long));
        assert!(writes(&mut notes, 10_000));
        notes.told(note(1..9, &long));
        let size = note(0..8, &long).size() as u64;
        assert!(!writes(&mut notes, 10_000 + size * 10 - 1));
        assert!(writes(&mut notes, 10_000 + size * 10));
    }

    #[test]
    fn one_that_was_not_written_is_written_again_even_if_it_says_nothing() {
        let mut notes = Notes::default();
        notes.told(note([1], "x"));
        assert!(writes(&mut notes, 0));
        notes.told(Note::default());
        assert!(notes.due(5_000, Some(&me())).is_some());
        assert!(notes.due(50_000, Some(&me())).is_none(), "one at a time");
        notes.written(None);
        assert!(writes(&mut notes, 50_000));
        assert!(!writes(&mut notes, 100_000));
    }

    #[test]
    fn another_life_and_a_log_that_was_cut_off_have_it_written_anew() {
        let mut notes = Notes::default();
        notes.told(note([1], "x"));
        assert!(writes(&mut notes, 0));
        assert!(notes.due(10_000, None).is_none());
        let other = MemberId::random(2);
        assert!(
            matches!(notes.due(10_000, Some(&other)), Some(Record::Note { member, .. }) if member == other)
        );
        notes.written(Some(100));
        notes.log_begins(100);
        assert!(notes.due(20_000, Some(&other)).is_none());
        notes.log_begins(101);
        assert!(notes.due(20_000, Some(&other)).is_some());
    }
}
