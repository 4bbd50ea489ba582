//! Which dead letters are meant. Pure.

use std::collections::BTreeSet;

use super::ledger::Standing;
use super::read::{Detail, place_id};

/// The shortest beginning of an id that may stand for it.
const MIN_PREFIX: usize = 4;

/// Conditions that all have to hold; without any, every letter is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// A status, or a part of the error's text, in capitals or not.
    pub error: Option<String>,
    /// Written at this time or later, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// The key.
    pub key: Option<String>,
    /// The event's type; one that ends in `*` is a beginning.
    pub kind: Option<String>,
    /// Why it is a dead letter.
    pub outcome: Option<String>,
}

impl Filter {
    /// Whether there is no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this letter is meant.
    #[must_use]
    pub fn matches(&self, detail: &Detail) -> bool {
        let letter = &detail.letter;
        let error = |wanted: &String| {
            let part = wanted.to_lowercase();
            let has = |text: &Option<String>| {
                text.as_ref()
                    .is_some_and(|text| text.to_lowercase().contains(&part))
            };
            letter.status.as_ref() == Some(wanted) || has(&letter.message) || has(&letter.exception)
        };
        let kind = |wanted: &String| {
            let found = detail.kind.as_deref().unwrap_or_default();
            match wanted.strip_suffix('*') {
                Some(beginning) => detail.kind.is_some() && found.starts_with(beginning),
                None => found == wanted,
            }
        };
        // Of a long key the beginning is known.
        let key = |wanted: &String| {
            detail.key.as_ref().is_some_and(|key| {
                key == wanted.as_bytes()
                    || key.len() < wanted.len() && key.len() >= 1024 && wanted.as_bytes().starts_with(key)
            })
        };
        self.error.as_ref().is_none_or(error)
            && self.since.is_none_or(|since| detail.time >= since)
            && self.key.as_ref().is_none_or(key)
            && self.kind.as_ref().is_none_or(kind)
            && self
                .outcome
                .as_ref()
                .is_none_or(|wanted| letter.outcome.as_ref() == Some(wanted))
    }
}

/// The ids meant by what was written: an id, its beginning, or `PARTITION:OFFSET` of a letter's newest copy.
///
/// # Errors
/// One that is no letter's, or several's, in words for people.
pub fn find_ids<'a>(
    letters: &[Standing<'a, Detail>],
    written: &[String],
) -> Result<BTreeSet<&'a str>, String> {
    let mut found = BTreeSet::new();
    for text in written {
        let exact = letters
            .iter()
            .find(|letter| letter.id == text || place_id(letter.place) == *text);
        if let Some(letter) = exact {
            found.insert(letter.id);
            continue;
        }
        let begins = |letter: &&Standing<'a, Detail>| letter.id.starts_with(text.as_str());
        let mut near = letters.iter().filter(begins);
        match (near.next(), near.next()) {
            (Some(letter), None) if text.len() >= MIN_PREFIX => {
                found.insert(letter.id);
            }
            (Some(_), Some(_)) if text.len() >= MIN_PREFIX => {
                return Err(format!(
                    "{text} is the beginning of several ids: write more of it"
                ));
            }
            _ => {
                return Err(format!(
                    "there is no letter {text}; `barnabas dlq list --all` has their ids"
                ));
            }
        }
    }
    Ok(found)
}
