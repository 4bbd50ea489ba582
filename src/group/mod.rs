//! Groups: who owns which partition, and how far it has got.
//!
//! A group is one replicated state machine whose only storage is a Kafka topic. Reading order:
//! - [`record`]: the records of that log;
//! - [`state`]: what they add up to: apply(state, position, record) → changes;
//! - [`snapshot`]: a state in pieces of the log, and back;
//! - [`rules`]: which rules are in force (all, but in tests).

pub mod record;
pub mod rules;
pub mod snapshot;
pub mod state;
