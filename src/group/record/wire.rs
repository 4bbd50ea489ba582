//! Records as JSON.

use super::{Record, Unreadable};

pub(super) fn encode(record: &Record) -> Vec<u8> {
    let _ = record;
    Vec::new()
}

pub(super) fn decode(payload: &[u8]) -> Result<Record, Unreadable> {
    let _ = payload;
    Err(Unreadable::NotJson)
}
