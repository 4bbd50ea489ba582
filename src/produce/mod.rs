//! From records to acknowledged batches.

pub mod input;
pub mod partitioner;
