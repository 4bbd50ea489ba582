//! barnabas: publish and process domain events through Apache Kafka.
//!
//! The modules in reading order, which is the way of an event:
//! - [`record`]: record batches, encoded and decoded without copies;
//! - [`broker`]: connections to the brokers, metadata, leaders, retries;
//! - [`produce`]: from records to acknowledged batches;
//! - [`fetch`]: from positions to fetched batches;
//! - [`progress`]: how far the work on a partition has got;
//! - [`group`]: who owns which partition, agreed on through a log in Kafka;
//! - [`delivery`]: which record may run now, and what its outcome means;
//! - [`event`]: CloudEvents in records; [`handler`]: what a record is given to, over HTTP or in a process;
//! - [`dead_letter`]: where records go that could not be processed, and how they come back;
//! - [`app`]: composition: a member of a group at work;
//! - [`sandbox`]: a broker for development and tests; [`demo`]: all of it in one command, with what can go wrong;
//! - [`cli`]: the command line: flags, settings, output, a file per command;
//! - [`mod@shutdown`], the signals that ask the process to end;
//! - [`clock`]: the only door to time and randomness.

pub mod app;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod dead_letter;
pub mod delivery;
pub mod demo;
pub mod event;
pub mod fetch;
pub mod group;
pub mod handler;
pub mod produce;
pub mod progress;
pub mod record;
pub mod sandbox;
pub mod shutdown;
