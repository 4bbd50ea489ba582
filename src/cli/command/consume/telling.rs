//! What a member of a group tells people.

use crate::app::Notice;
use crate::broker::metadata::PartitionId;
use crate::cli::output::{Output, plural};

/// Tells it.
pub(super) fn tell(output: &Output, group: &str, notice: Notice) {
    match notice {
        Notice::Ready { owned, total } => output.ready(&format!(
            "group {group}, {owned} of {}",
            plural(number(total), "partition")
        )),
        Notice::Leaving => output.note(&format!("leaving group {group}")),
        Notice::Removed { why } => {
            output.warn(&format!("removed from group {group} ({why}): joining again"));
        }
        Notice::Gone { partition, offsets } => {
            output.warn(&super::gone(&place(&partition), offsets.start, offsets.end));
        }
        Notice::CutBack { partition, from, to } => output.warn(&format!(
            "{} was cut back to offset {to} (it was read up to {from}): going on there after a reset",
            place(&partition)
        )),
        Notice::Recreated { partition, from } => output.warn(&format!(
            "topic {} was deleted and created again: partition {}, read up to offset {from} of the old one, goes on at \
             the beginning of the new one",
            partition.0, partition.1
        )),
        Notice::Unread { partition, error } => {
            let error = anyhow::Error::new(error);
            output.warn(&format!("{} cannot be read: {error:#}; trying again", place(&partition)));
        }
        Notice::Breaker { open: true } => output.warn(
            "the handler is out of order: nothing more is delivered but a probe now and then, and no attempt counts; \
             `barnabas groups why` tells the last answers",
        ),
        Notice::Breaker { open: false } => output.note("the handler is in order again"),
        Notice::FuseBlown => output.warn(&format!(
            "the handler rejects nearly everything: rejected records are held and not set aside, the rest goes on; when \
             it is mended or meant, run: barnabas groups resume {group}"
        )),
        Notice::DeadLetter {
            partition,
            offset,
            reason,
            to,
        } => output.warn(&format!(
            "offset {offset} of {} was set aside ({}) to {to}",
            place(&partition),
            reason.name()
        )),
        Notice::NoDeadLetter { partition, offset, why } => output.warn(&format!(
            "offset {offset} of {} cannot be set aside: {why}; it waits and is tried again, as does its key",
            place(&partition)
        )),
    }
}

fn place((topic, partition): &PartitionId) -> String {
    format!("partition {partition} of topic {topic}")
}

pub(super) fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
