//! From records to acknowledged batches.

pub mod accumulator;
mod cached;
mod compress;
pub mod input;
mod parcel;
pub mod partitioner;
pub mod producer;
pub mod queue;
pub mod reader;
pub mod tally;
