//! The record that says of a dead letter that it was replayed or discarded. Pure.
//!
//! It stands in the letter's own partition, behind it, so that retention never takes the resolution before the letter.

use super::envelope::Envelope;
use super::headers::resolution as names;

/// Bytes of a reason.
const MAX_WHY: usize = 1000;

/// What was done with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It went back to its group, or to its topic.
    Replayed,
    /// Nobody wants it.
    Discarded,
}

impl Kind {
    /// The word in the header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

/// That a letter was dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The letter's id.
    pub id: String,
    /// What was done.
    pub kind: Kind,
    /// Copies that were replayed no more often than this are dealt with: a letter that fails again after a replay is open
    /// again.
    pub replays: u32,
    /// Who did it.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
    /// The topic that it was written to, if it was replayed.
    pub to: Option<String>,
}

impl Resolution {
    /// Reads it from headers by name; none if it is no resolution.
    pub(super) fn read(text: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let kind = match text(names::KIND)?.as_str() {
            "replayed" => Kind::Replayed,
            "discarded" => Kind::Discarded,
            _ => return None,
        };
        Some(Self {
            id: text(names::ID)?,
            kind,
            replays: text(names::REPLAYS)?.parse().ok()?,
            by: text(names::BY).unwrap_or_default(),
            why: text(names::WHY).unwrap_or_default(),
            to: text(names::TO),
        })
    }

    /// The record, without key and value.
    #[must_use]
    pub fn seal(&self) -> Envelope<'static> {
        let mut record = Envelope::default();
        record.put(names::ID, self.id.clone());
        record.put(names::KIND, self.kind.name());
        record.put(names::REPLAYS, self.replays.to_string());
        record.put(names::BY, self.by.clone());
        if !self.why.is_empty() {
            record.put(names::WHY, &self.why[..self.why.floor_char_boundary(MAX_WHY)]);
        }
        if let Some(to) = &self.to {
            record.put(names::TO, to.clone());
        }
        record
    }
}
