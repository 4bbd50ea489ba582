//! Groups: who owns which partition, and how far it has got.
//!
//! A group is one replicated state machine whose only storage is a Kafka topic. Reading order:
//! - [`record`]: the records of that log;
//! - [`state`]: what they add up to: apply(state, position, record) → changes;
//! - [`snapshot`]: a state in pieces of the log, and back;
//! - [`assignment`]: members and partitions → who should own what;
//! - [`lease`]: how long this member may work, and how long the others were silent;
//! - [`member`]: what this member must do next;
//! - [`rules`]: which rules are in force (all, but in tests).

pub mod assignment;
pub mod lease;
pub mod member;
pub mod record;
pub mod rules;
pub mod snapshot;
pub mod state;

#[cfg(test)]
mod sim;
