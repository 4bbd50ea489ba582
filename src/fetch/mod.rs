//! From positions to fetched batches.
