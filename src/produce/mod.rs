//! From records to acknowledged batches.
