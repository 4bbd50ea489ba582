//! How a member behaves, in the words of whoever starts it.

use std::sync::Arc;
use std::time::Duration;

use regex_lite::Regex;

use crate::group::member::MemberSettings;

/// A member's settings.
#[derive(Debug, Clone)]
pub struct GroupSettings {
    /// The group's name.
    pub group: String,
    /// What it reads.
    pub topics: Topics,
    /// Where it begins in a partition of which the group knows nothing.
    pub from: StartFrom,
    /// A name that stays over restarts: what this member had waits for it.
    pub instance: Option<String>,
    /// Where this process runs, for people: see [`this_host`].
    pub host: String,
    /// After how long without a sign of life a member is replaced.
    pub session: Duration,
    /// The least time between two reports of progress.
    pub report: Duration,
    /// How long what is under way may take when a partition is handed over.
    pub drain: Duration,
    /// How long partitions are held back for an instance that went away.
    pub grace: Duration,
    /// Whether only committed transactions are read.
    pub read_committed: bool,
    /// Whether a lost log may be founded anew, from the offsets committed to Kafka's own group.
    pub rebuild: bool,
    /// Whether [`Event::Reported`](super::Event::Reported) is told.
    pub tell_reports: bool,
}

/// What a group reads.
#[derive(Debug, Clone)]
pub enum Topics {
    /// These; never empty.
    Named(Vec<Arc<str>>),
    /// Those whose name matches, also those that come later. (Kafka's own are left out, and groups' logs.)
    Like(Regex),
}

/// Where a group begins in a partition that it has no position for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFrom {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At the first record of this time or later, in milliseconds since 1970.
    Time(i64),
    /// At what this group of Kafka's own has committed; at the oldest record where it has nothing.
    KafkaGroup(String),
}

impl GroupSettings {
    /// How long handlers take to be cancelled, in milliseconds.
    pub(super) fn cancel(&self) -> u64 {
        millis(self.session) / 20
    }

    /// The member's own, at this wall clock in milliseconds since 1970.
    pub(super) fn of_member(&self, unix_millis: i64) -> MemberSettings {
        MemberSettings {
            instance: self.instance.clone(),
            drain: millis(self.drain),
            cancel: self.cancel(),
            grace: millis(self.grace),
            report: millis(self.report),
            rebuild: self.rebuild,
            tell_reports: self.tell_reports,
            pattern: matches!(self.topics, Topics::Like(_)),
            unix_micros: u64::try_from(unix_millis).unwrap_or(0).saturating_mul(1_000),
            ..MemberSettings::new(&self.group, &self.host, millis(self.session))
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// This machine's name as the system has it, and the process: `host-7:4711`.
#[must_use]
pub fn this_host() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    format!("{name}:{}", std::process::id())
}
