//! barnabas: publish and process domain events through Apache Kafka.
//!
//! The modules in reading order, which is the way of an event:
//! - [`record`]: record batches, encoded and decoded without copies;
//! - [`broker`]: connections to the brokers, metadata, leaders, retries;
//! - [`produce`]: from records to acknowledged batches;
//! - [`fetch`]: from positions to fetched batches;
//! - [`event`]: CloudEvents in records; [`handler`]: what a record is given to, over HTTP or in a process;
//! - [`cli`]: the command line: flags, settings, output, a file per command;
//! - [`mod@shutdown`], the signals that ask the process to end;
//! - [`clock`]: the only door to time and randomness.

pub mod broker;
pub mod cli;
pub mod clock;
pub mod event;
pub mod fetch;
pub mod handler;
pub mod produce;
pub mod record;
pub mod shutdown;
