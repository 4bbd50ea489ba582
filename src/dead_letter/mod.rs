//! Dead letters: where a record goes that could not be processed, and how it comes back.
//!
//! - [`headers`]: the names that the families of dead-letter headers have;
//! - [`envelope`]: a failed record as a dead letter, in smaller and smaller shapes;
//! - [`letter`]: a dead letter read back, whichever family it is of;
//! - [`resolution`]: the record that says of a letter that it was replayed or discarded;
//! - [`replay`]: a letter as the record that goes back to its group, and where that one came from;
//! - [`ledger`]: letters and resolutions → what is open, and what may be deleted;
//! - [`filter`]: which letters are meant;
//! - [`topics`]: the topics of dead letters and replays, checked or made;
//! - [`writer`]: dead letters written and acknowledged;
//! - [`read`] and [`redrive`]: a topic of dead letters read, replayed, discarded, purged.

pub mod envelope;
pub mod filter;
pub mod headers;
pub mod ledger;
pub mod letter;
mod publish;
pub mod read;
pub mod redrive;
pub mod replay;
pub mod resolution;
#[cfg(test)]
mod tests;
pub mod topics;
pub mod writer;

/// Between a topic's name and its group's, in the name of the topic with the dead letters.
const DEAD: &str = ".dlq.";
/// Likewise for the topic with what is replayed.
const REPLAY: &str = ".replay.";
/// The longest name of a topic.
pub const MAX_TOPIC: usize = 249;

/// The topic of a group's dead letters from a topic.
#[must_use]
pub fn dead_topic(topic: &str, group: &str) -> String {
    format!("{topic}{DEAD}{group}")
}

/// The topic through which dead letters go back to their group, and to no other.
#[must_use]
pub fn replay_topic(topic: &str, group: &str) -> String {
    format!("{topic}{REPLAY}{group}")
}

/// Topic and group of a topic of dead letters, by its name. The last separator counts: whoever consumes dead letters has
/// dead letters of them.
#[must_use]
pub fn split_dead(name: &str) -> Option<(&str, &str)> {
    split(name, DEAD)
}

/// Likewise of a topic of replays.
#[must_use]
pub fn split_replay(name: &str) -> Option<(&str, &str)> {
    split(name, REPLAY)
}

/// Whether a topic is one of this group's own: a pattern of topics to consume never means those, lest the group eat its
/// own dead letters.
#[must_use]
pub fn is_of_group(name: &str, group: &str) -> bool {
    let of = |separator| split(name, separator).is_some_and(|(_, found)| found == group);
    of(DEAD) || of(REPLAY)
}

fn split<'a>(name: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    name.rsplit_once(separator)
        .filter(|(topic, group)| !topic.is_empty() && !group.is_empty())
}
