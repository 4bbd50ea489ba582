//! Groups: who owns which partition, and how far it has got.
//!
//! A group is one replicated state machine whose only storage is a Kafka topic. Reading order:
//! - [`record`]: the records of that log;
//! - [`state`]: what they add up to: apply(state, position, record) → changes;
//! - [`snapshot`]: a state in pieces of the log, and back;
//! - [`assignment`]: who should own which partition;
//! - [`lease`]: how long this member may work, and how long the others were silent;
//! - [`member`]: what this member must do next;
//! - [`log`]: the topic that the records are in: made, checked, read and written;
//! - [`driver`]: a member at work: reads the log, performs what the member says;
//! - [`mirror`]: committed offsets, written to Kafka's own group as well;
//! - [`history`]: the log told as a story;
//! - [`rules`]: which rules are in force (all, but in tests).

pub mod assignment;
pub mod driver;
pub mod history;
pub mod lease;
pub mod log;
pub mod member;
pub mod mirror;
pub mod record;
pub mod rules;
pub mod snapshot;
pub mod state;

#[cfg(test)]
mod sim;
