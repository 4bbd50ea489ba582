//! Records in the event log, a line each.

use std::fmt::Write;

use crate::group::record::{MemberId, PartitionId, Record, Report};

/// A record for a person who looks for what went wrong.
pub(super) fn record(record: Option<&Record>) -> String {
    let Some(record) = record else {
        return "something that is no record".to_owned();
    };
    match record {
        Record::Part { mark, n, of, .. } => format!("part {n} of {of} of {mark}"),
        Record::Report(report) => format!("report of {}", told(report)),
        Record::Leave(report) => format!("leave of {}", told(report)),
        Record::Join {
            member,
            instance,
            topics,
            session_ms,
            read,
            ..
        } => {
            let topics: Vec<String> = topics
                .iter()
                .map(|(topic, info)| format!("{topic}/{}", info.partitions))
                .collect();
            format!("join of {member} as {instance:?}: {topics:?}, session {session_ms}, had read {read}")
        }
        Record::Assign { by, basis, changes } => {
            let to =
                |member: &Option<MemberId>| member.as_ref().map_or("nobody".to_owned(), MemberId::to_string);
            let changes: Vec<String> = changes
                .iter()
                .map(|(partition, member)| format!("{} to {}", name(partition), to(member)))
                .collect();
            format!("assign of {by} on {basis}: {}", changes.join(", "))
        }
        Record::Expire {
            member,
            seen,
            by,
            after_ms,
        } => {
            format!("expire of {member} by {by}, seen {seen}, after {after_ms} ms")
        }
        Record::Skip { why, .. } if why.len() > 100 => "noise".to_owned(),
        record => format!("{record:?}"),
    }
}

fn told(report: &Report) -> String {
    let mut text = format!("{} n {}:", report.member, report.n);
    for entry in &report.entries {
        let (next, done) = (entry.progress.next, &entry.progress.done);
        let _ = write!(text, " {} t{} next {next:?}", name(&entry.partition), entry.token);
        for (start, end) in done.iter() {
            let _ = write!(text, " {start}..{end}");
        }
    }
    for (partition, token) in &report.released {
        let _ = write!(text, " releases {} t{token}", name(partition));
    }
    text
}

fn name((topic, partition): &PartitionId) -> String {
    format!("{topic}-{partition}")
}
