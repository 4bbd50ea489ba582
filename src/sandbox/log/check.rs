//! What is looked at in the records of a batch before it is appended: keys and times. Pure.

use super::Rejected;
use crate::record::{Batch, DecodeBuffer};
use crate::sandbox::code;
use crate::sandbox::config::Rules;

/// The time of a record that has none.
const NO_TIMESTAMP: i64 = -1;

/// Looks into the batch only where something could be wrong: with times whose limits its header is within, and no keys to
/// look for, it is not even decompressed.
pub(super) fn records(
    batch: &Batch<'_>,
    rules: &Rules,
    now: i64,
    (topic, partition): (&str, i32),
) -> Result<(), Rejected> {
    let (from, to) = (
        now.saturating_sub(rules.before_max),
        now.saturating_add(rules.after_max),
    );
    let times = !rules.append_time && (batch.header.max_timestamp > to || rules.before_max != i64::MAX);
    if !times && !rules.compact {
        return Ok(());
    }
    let mut code = code::INVALID_RECORD;
    let mut wrong = Vec::new();
    let mut buffer = DecodeBuffer::new();
    let records = batch.records(&mut buffer).map_err(|_| code::CORRUPT_MESSAGE)?;
    for (index, record) in (0i32..).zip(records) {
        let record = record.map_err(|_| code::CORRUPT_MESSAGE)?;
        if rules.compact && record.key.is_none() {
            let why = format!(
                "Compacted topic cannot accept message without key in topic partition {topic}-{partition}"
            );
            wrong.push((index, why));
        } else if times && record.timestamp != NO_TIMESTAMP && !(from..=to).contains(&record.timestamp) {
            code = code::INVALID_TIMESTAMP;
            let why = format!(
                "Timestamp {} of message with offset {} is out of range. The timestamp should be within [{from}, {to}]",
                record.timestamp, record.offset
            );
            wrong.push((index, why));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let records = wrong;
    Err(Rejected { code, records })
}
