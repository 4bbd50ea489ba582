//! From positions to fetched batches.

pub mod cursor;
pub mod event;
pub mod fetcher;
