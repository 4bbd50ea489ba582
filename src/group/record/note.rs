//! What holds a member's work back, as it tells people through the log: `groups why` reads it there, from any machine.
//!
//! A note changes nothing: it is no part of the state, of its hash or of snapshots, and no sign of life. So a build that
//! does not know notes has the same state as one that does, and a note needs no higher record version. The last one of
//! a member counts, as long as that lives; what it says of a partition, as long as that has the token it names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MemberId, PartitionId, Record, Token};

/// The most bytes of a note's JSON.
pub const MAX_NOTE: usize = 32 << 10;
/// The most bytes of one text in it.
pub(super) const MAX_TEXT: usize = 200;
/// The most records that are told of one partition.
pub const MAX_TOLD: usize = 8;
/// The most records, and the most partitions, that are told at all.
pub(super) const MAX_TOLD_OF_ALL: usize = 64;

/// What holds a member's work back. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// The handler does not work, as far as the member can tell: one event at a time is tried.
    pub breaker: Option<Open>,
    /// The fuse has blown, and by what.
    pub fuse: Option<String>,
    /// The handler asked for a pause of everything until then.
    pub pause: Option<i64>,
    /// Partitions that something holds back.
    pub partitions: BTreeMap<PartitionId, Holds>,
}

/// An open breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Since when.
    pub since: i64,
    /// When an event is tried next; none while one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<i64>,
    /// What opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Last>,
}

/// What holds a partition back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Of which ownership this is said.
    pub token: Token,
    /// Nothing more of it is fetched: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The event that the handler has had for longest, if that is long: its offset, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<(i64, i64)>,
    /// Records that wait after a failure, the oldest ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Waiting>,
}

/// A record that waits after a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its offset.
    pub offset: i64,
    /// How it was answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// It goes to the dead letters for this: a word of their headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<String>,
    /// Its dead letter could not be written: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<String>,
}

/// An answer that was not "done".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// What it means: `retry`, `lost`, `hold`, `reject`.
    pub outcome: String,
    /// What it was: `503`, `exit 1`; none without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The beginning of what the handler said, or what went wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub excerpt: String,
}

impl Note {
    /// Whether it says that nothing holds anything back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Cuts texts and leaves out records and partitions until all is within the bounds. Those of later partitions go
    /// first; of a partition the later records.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        if let Some(open) = &mut self.breaker {
            open.by.iter_mut().for_each(Last::cut);
        }
        cut(&mut self.fuse);
        while self.partitions.len() > MAX_TOLD_OF_ALL {
            self.partitions.pop_last();
        }
        let each = (MAX_TOLD_OF_ALL / self.partitions.len().max(1)).clamp(1, MAX_TOLD);
        for holds in self.partitions.values_mut() {
            cut(&mut holds.stopped);
            holds.held.truncate(each);
            for waiting in &mut holds.held {
                waiting.last.iter_mut().for_each(Last::cut);
                cut(&mut waiting.dead);
                cut(&mut waiting.unwritten);
            }
        }
        while self.size() > MAX_NOTE {
            let Some(mut last) = self.partitions.last_entry() else {
                break;
            };
            if last.get_mut().held.pop().is_none() {
                last.remove();
            }
        }
        self
    }

    /// The bytes of its record.
    #[must_use]
    pub fn size(&self) -> usize {
        // Every id is as long.
        let (member, note) = (MemberId::random(0), self.clone());
        Record::Note { member, note }.encode().len()
    }

    /// Whether it differs from another in more than details: people wait for that.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        let shape = |note: &Self| {
            let partition = |(id, holds): (&PartitionId, &Holds)| {
                let ways = (holds.running.is_some(), holds.held.is_empty());
                (id.clone(), holds.token, ways)
            };
            let partitions: Vec<_> = note.partitions.iter().map(partition).collect();
            (note.breaker.is_some(), note.fuse.is_some(), partitions)
        };
        shape(self) != shape(other)
    }
}

impl Last {
    fn cut(&mut self) {
        self.outcome = plain(&self.outcome);
        cut(&mut self.status);
        self.excerpt = plain(&self.excerpt);
    }
}

fn cut(text: &mut Option<String>) {
    if let Some(text) = text {
        *text = plain(text);
    }
}

/// The beginning of a text on one line: white space and control characters are spaces, several of them one.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    for char in text.chars() {
        let blank = char.is_whitespace() || char.is_control();
        if blank && (plain.is_empty() || plain.ends_with(' ')) {
            continue;
        }
        let char = if blank { ' ' } else { char };
        if plain.len() + char.len_utf8() > MAX_TEXT {
            break;
        }
        plain.push(char);
    }
    plain.truncate(plain.trim_end().len());
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(excerpt: &str) -> Last {
        Last {
            outcome: "retry".to_owned(),
            status: Some("503".to_owned()),
            excerpt: excerpt.to_owned(),
        }
    }

    fn note(partitions: i32, held: i64, excerpt: &str) -> Note {
        let waiting = |offset| Waiting {
            offset,
            last: Some(last(excerpt)),
            dead: None,
            unwritten: Some(excerpt.to_owned()),
        };
        let holds = Holds {
            token: Token::NONE,
            stopped: None,
            running: Some((3, 4)),
            held: (0..held).map(waiting).collect(),
        };
        Note {
            partitions: (0..partitions)
                .map(|partition| (("t".into(), partition), holds.clone()))
                .collect(),
            ..Note::default()
        }
    }

    fn told(note: &Note) -> usize {
        note.partitions.values().map(|holds| holds.held.len()).sum()
    }

    #[test]
    fn a_note_is_small_whatever_a_handler_answers() {
        for text in ["\"\\".repeat(2_000), "é\n".repeat(5_000), "\u{1}".repeat(900)] {
            let bounded = note(100, 20, &text).bounded();
            assert!(bounded.size() <= MAX_NOTE, "{}", bounded.size());
            assert!(bounded.partitions.len() <= MAX_TOLD_OF_ALL && told(&bounded) <= MAX_TOLD_OF_ALL);
        }
        assert_eq!(told(&note(1, 50, "x").bounded()), MAX_TOLD);
        assert_eq!(told(&note(20, 50, "x").bounded()), 60);
    }

    #[test]
    fn what_is_left_out_is_left_out_from_the_end() {
        let bounded = note(2, 9, "x").bounded();
        for holds in bounded.partitions.values() {
            let offsets: Vec<i64> = holds.held.iter().map(|waiting| waiting.offset).collect();
            assert_eq!(offsets, (0..8).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_text_is_one_line_without_control_characters() {
        assert_eq!(plain(" a\r\n\tb\u{1b}[31m\u{7}c "), "a b [31m c");
        let long = plain(&"ä".repeat(500));
        assert_eq!((long.len(), long.chars().count()), (200, 100));
        assert_eq!(plain("\n\n"), "");
    }

    #[test]
    fn another_excerpt_is_a_detail_and_another_partition_is_not() {
        let one = note(1, 1, "x");
        assert!(!one.differs(&note(1, 3, "y")));
        assert!(one.differs(&note(2, 1, "x")));
        assert!(one.differs(&Note::default()));
        let blown = Note {
            fuse: Some("20 of 20".to_owned()),
            ..one.clone()
        };
        assert!(one.differs(&blown));
    }
}
