//! barnabas: publish and process domain events through Apache Kafka.
//!
//! The modules in reading order, which is the way of an event:
//! - [`record`]: record batches, encoded and decoded without copies;
//! - [`broker`]: connections to the brokers, metadata, leaders, retries;
//! - [`produce`]: from records to acknowledged batches;
//! - [`fetch`]: from positions to fetched batches;
//! - [`progress`]: how far the work on a partition has got;
//! - [`group`]: who owns which partition, agreed on through a log in Kafka;
//! - [`app`]: composition: a member of a group at work;
//! - [`cli`]: the command line: flags, settings, output, a file per command;
//! - [`mod@shutdown`], the signals that ask the process to end;
//! - [`clock`]: the only door to time and randomness.

pub mod app;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod fetch;
pub mod group;
pub mod produce;
pub mod progress;
pub mod record;
pub mod shutdown;
