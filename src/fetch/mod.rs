//! From positions to fetched batches.

pub mod cursor;
pub mod fetcher;
