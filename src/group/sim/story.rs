//! Records in the event log, a line each.

use crate::group::record::Record;

/// A record for a person who looks for what went wrong.
pub(super) fn record(record: Option<&Record>) -> String {
    match record {
        None => "something that is no record".to_owned(),
        Some(Record::Part { mark, n, of, .. }) => format!("Part {n} of {of} of {mark:?}"),
        Some(record) => format!("{record:?}"),
    }
}
