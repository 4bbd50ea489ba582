//! What a member of a group tells people.

use crate::app::Notice;
use crate::broker::metadata::PartitionId;
use crate::cli::output::{Output, plural};

/// How the lines begin by which `demo` knows what its consumers tell: of an open breaker,
pub(crate) const OUT_OF_ORDER: &str = "the handler is out of order";
/// of a closed one,
pub(crate) const IN_ORDER: &str = "the handler is in order again";
/// and of a member that the group has given up.
pub(crate) const REMOVED: &str = "removed from group";

/// Tells it.
pub(super) fn tell(output: &Output, group: &str, notice: Notice) {
    match notice {
        Notice::Ready { owned, total } => output.ready(&format!(
            "group {group}, {owned} of {}",
            plural(number(total), "partition")
        )),
        Notice::Leaving => output.note(&format!("leaving group {group}")),
        Notice::Removed { why } => {
            output.warn(&format!("{REMOVED} {group} ({why}): joining again"));
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
        Notice::Breaker { open: true } => output.warn(&format!(
            "{OUT_OF_ORDER}: nothing more is delivered but a probe now and then, and no attempt counts; \
             `barnabas groups why` tells the last answers",
        )),
        Notice::Breaker { open: false } => output.note(IN_ORDER),
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
