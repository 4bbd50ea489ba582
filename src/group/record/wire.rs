//! Records as JSON: `{"v":1,"type":"report",…}`.
//!
//! For people with kcat and jq: partitions are grouped by topic (`{"orders":{"0":…}}`), positions are
//! `"epoch:offset"`, tokens plain numbers, hashes and ids hexadecimal, topic ids as Kafka's tools print them. What has
//! its default value is left out, and fields that are not known are passed over.

mod body;
mod decode;
mod encode;
pub(in crate::group) mod field;

pub(super) use decode::decode;
pub(super) use encode::{encode, entry_len, name_len};

use field::ByTopic;

/// The key of those partitions of an assignment that have no target.
const NONE: &str = "none";

/// What `by_topic` makes of nothing is left out.
fn is_empty<T>(map: &ByTopic<T>) -> bool {
    map.is_empty()
}
