//! `groups`.

use std::collections::BTreeSet;

use super::produce::check_topic;
use super::{Isolation, Settings, Usage, choice, offsets, values};
use crate::cli::args::GroupsCommand;

/// What `groups` shall do.
#[derive(Debug, Clone)]
pub struct GroupsSettings {
    /// Which of its commands.
    pub action: GroupsAction,
    /// `--json`
    pub json: bool,
    /// Which end of a topic lag is counted to, and `--to latest` is.
    pub isolation: Isolation,
    /// Who does it, for the group's history: `user@host`.
    pub operator: String,
}

/// One of the commands of `groups`.
#[derive(Debug, Clone)]
pub enum GroupsAction {
    /// `groups list`
    List,
    /// `groups describe`
    Describe {
        /// In the order given; never empty.
        groups: Vec<String>,
    },
    /// `groups why`
    Why {
        /// The group.
        group: String,
        /// Which partitions.
        chosen: Chosen,
    },
    /// `groups history`
    History {
        /// The group.
        group: String,
        /// Void records and snapshots as well.
        all: bool,
    },
    /// `groups reset`
    Reset(ResetGroup),
    /// `groups pause` and `groups resume`
    Switch(SwitchGroup),
    /// `groups skip`
    Skip(SkipRecord),
    /// `groups delete`
    Delete {
        /// The group.
        group: String,
        /// Do not ask.
        yes: bool,
        /// Only say what would be done.
        dry_run: bool,
    },
}

/// Partitions of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Only of these topics; of all if empty.
    pub topics: BTreeSet<String>,
    /// Only of these numbers; all if empty.
    pub partitions: BTreeSet<i32>,
}

impl Chosen {
    /// Whether nothing was chosen: the whole group is meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.topics.is_empty() && self.partitions.is_empty()
    }

    /// Whether this partition is one of them.
    #[must_use]
    pub fn has(&self, topic: &str, partition: i32) -> bool {
        (self.topics.is_empty() || self.topics.contains(topic))
            && (self.partitions.is_empty() || self.partitions.contains(&partition))
    }
}

/// Where `groups reset` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetTo {
    /// To the oldest record.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// To this offset.
    Offset(i64),
    /// To the first record of this time or later, in milliseconds since the epoch; behind the newest if there is none.
    Time(i64),
    /// So many offsets on, back if it is negative.
    By(i64),
    /// To no position: the next owner works out a first one.
    None,
}

/// `groups reset`
#[derive(Debug, Clone)]
pub struct ResetGroup {
    /// The group.
    pub group: String,
    /// Where to.
    pub to: ResetTo,
    /// Which partitions.
    pub chosen: Chosen,
    /// Reason, for the history; may be empty.
    pub why: String,
    /// Do not ask.
    pub yes: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// `groups pause` and `groups resume`
#[derive(Debug, Clone)]
pub struct SwitchGroup {
    /// The group.
    pub group: String,
    /// Pause or resume.
    pub pause: bool,
    /// Which partitions; the group as a whole if all.
    pub chosen: Chosen,
    /// Reason, for the history; may be empty.
    pub why: String,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// `groups skip`
#[derive(Debug, Clone)]
pub struct SkipRecord {
    /// The group.
    pub group: String,
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Reason, for the history; may be empty.
    pub why: String,
    /// Do not ask.
    pub yes: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// A reason that is longer would make a record that is too large.
const MAX_WHY: usize = 1000;

impl Settings {
    /// What `groups` shall do; `now_millis` is the time that `-1h` counts back from.
    ///
    /// # Errors
    /// If a value is missing or not what it should be, or two of them exclude each other.
    pub(crate) fn groups(&self, command: &GroupsCommand, now_millis: i64) -> Result<GroupsSettings, Usage> {
        let action = match command {
            GroupsCommand::List(_) => GroupsAction::List,
            GroupsCommand::Describe(_) => GroupsAction::Describe {
                groups: self.group_names()?,
            },
            GroupsCommand::Why(_) => GroupsAction::Why {
                group: self.group_name()?,
                chosen: self.chosen()?,
            },
            GroupsCommand::History(_) => GroupsAction::History {
                group: self.group_name()?,
                all: self.switch("all")?,
            },
            GroupsCommand::Reset(_) => GroupsAction::Reset(ResetGroup {
                group: self.group_name()?,
                to: self.reset_to(now_millis)?,
                chosen: self.chosen()?,
                why: self.why()?,
                yes: self.switch("yes")?,
                dry_run: self.switch("dry-run")?,
            }),
            GroupsCommand::Pause(_) | GroupsCommand::Resume(_) => GroupsAction::Switch(SwitchGroup {
                group: self.group_name()?,
                pause: matches!(command, GroupsCommand::Pause(_)),
                chosen: self.chosen()?,
                why: self.why()?,
                dry_run: self.switch("dry-run")?,
            }),
            GroupsCommand::Skip(_) => GroupsAction::Skip(self.skip()?),
            GroupsCommand::Delete(_) => GroupsAction::Delete {
                group: self.group_name()?,
                yes: self.switch("yes")?,
                dry_run: self.switch("dry-run")?,
            },
        };
        Ok(GroupsSettings {
            action,
            json: self.switch("json")?,
            isolation: self.must("isolation", |text| {
                let committed = ("read_committed", Isolation::ReadCommitted);
                choice(
                    text,
                    &[committed, ("read_uncommitted", Isolation::ReadUncommitted)],
                )
            })?,
            operator: self.operator(),
        })
    }

    fn group_names(&self) -> Result<Vec<String>, Usage> {
        let mut names: Vec<String> = Vec::new();
        for name in self.list("groups") {
            check_group(&name).map_err(|why| self.wrong("groups", &format!("\"{name}\" {why}")))?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn group_name(&self) -> Result<String, Usage> {
        let found = self.group_names()?.pop();
        found.ok_or_else(|| Usage("no group: name one".to_owned()))
    }

    fn reset_to(&self, now_millis: i64) -> Result<ResetTo, Usage> {
        let to = self.maybe("to", |text| read_to(text, now_millis))?;
        let by = self.maybe("by", |text| {
            let number = text.strip_prefix('+').unwrap_or(text);
            // The smallest number has no counterpart.
            values::number(number, -i64::MAX, i64::MAX)
                .map_err(|_| "is not a number, such as 100 or -100".to_owned())
        })?;
        match (to, by) {
            (Some(to), None) => Ok(to),
            (None, Some(by)) => Ok(ResetTo::By(by)),
            (Some(_), Some(_)) => Err(self.wrong("by", "this and --to exclude each other")),
            (None, None) => Err(Usage(
                "where to? Give --to earliest, latest, an offset or a time, or --by N".to_owned(),
            )),
        }
    }

    fn chosen(&self) -> Result<Chosen, Usage> {
        let mut chosen = Chosen::default();
        for topic in self
            .list("topic")
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
        {
            check_topic(topic).map_err(|why| self.wrong("topic", &format!("\"{topic}\" {why}")))?;
            chosen.topics.insert(topic.to_owned());
        }
        let partitions = self.list("partition").join(",");
        if !partitions.is_empty() {
            let found = values::partitions(&partitions)
                .map_err(|why| self.wrong("partition", &format!("\"{partitions}\" {why}")))?;
            chosen.partitions.extend(found);
        }
        Ok(chosen)
    }

    pub(super) fn why(&self) -> Result<String, Usage> {
        let why = self.maybe("why", |text| match text.len() {
            0..=MAX_WHY => Ok(text.to_owned()),
            _ => Err(format!("is longer than {MAX_WHY} bytes")),
        })?;
        Ok(why.unwrap_or_default())
    }

    fn skip(&self) -> Result<SkipRecord, Usage> {
        let missing = |what| Usage(format!("which record? Give {what}"));
        let topic = self.text("topic").ok_or_else(|| missing("--topic"))?;
        check_topic(&topic).map_err(|why| self.wrong("topic", &format!("\"{topic}\" {why}")))?;
        let partition = self.maybe("partition", |text| values::number(text, 0, i32::MAX))?;
        let offset = if self.given("offset") {
            self.maybe("offset", |text| values::number(text, 0, i64::MAX))?
        } else {
            None
        };
        Ok(SkipRecord {
            group: self.group_name()?,
            topic,
            partition: partition.ok_or_else(|| missing("--partition"))?,
            offset: offset.ok_or_else(|| missing("--offset"))?,
            why: self.why()?,
            yes: self.switch("yes")?,
            dry_run: self.switch("dry-run")?,
        })
    }

    /// `user@host`, as far as the environment and the system tell.
    pub(super) fn operator(&self) -> String {
        let user = self.environment().get("USER").unwrap_or("somebody");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = host.as_deref().map(str::trim).filter(|host| !host.is_empty());
        let host = host.or_else(|| self.environment().get("HOSTNAME"));
        format!("{user}@{}", host.unwrap_or("somewhere"))
    }
}

/// A group's log is the topic `barnabas.group.GROUP`, so that the name has to be what a topic's may be.
pub(super) fn check_group(name: &str) -> Result<(), String> {
    match crate::group::log::topic_of(name) {
        Ok(_) => Ok(()),
        Err(_) => Err("is not a group's name: 1 to 234 of a-z, A-Z, 0-9, . _ -".to_owned()),
    }
}

fn read_to(text: &str, now_millis: i64) -> Result<ResetTo, String> {
    let wrong = || {
        "is neither earliest, latest, none, an offset, 2026-01-31T12:00:00Z, -1h nor @MILLISECONDS".to_owned()
    };
    match text {
        "earliest" | "beginning" | "smallest" => return Ok(ResetTo::Earliest),
        "latest" | "end" | "largest" => return Ok(ResetTo::Latest),
        "none" => return Ok(ResetTo::None),
        _ => {}
    }
    if let Some(time) = text.strip_prefix("s@").or_else(|| text.strip_prefix('@')) {
        return offsets::time(time, now_millis)
            .map(ResetTo::Time)
            .ok_or_else(wrong);
    }
    match text.parse::<i64>() {
        Ok(offset) if offset >= 0 => Ok(ResetTo::Offset(offset)),
        Ok(_) => Err("is no offset; to go back so many say --by".to_owned()),
        Err(_) => offsets::time(text, now_millis)
            .map(ResetTo::Time)
            .ok_or_else(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn where_a_reset_goes_is_read_in_all_its_forms() {
        for (text, to) in [
            ("earliest", ResetTo::Earliest),
            ("beginning", ResetTo::Earliest),
            ("latest", ResetTo::Latest),
            ("none", ResetTo::None),
            ("42", ResetTo::Offset(42)),
            ("-1h", ResetTo::Time(NOW - 3_600_000)),
            ("@1234", ResetTo::Time(1234)),
            ("@-1h", ResetTo::Time(NOW - 3_600_000)),
            ("1970-01-01T00:00:01Z", ResetTo::Time(1000)),
        ] {
            assert_eq!(read_to(text, NOW), Ok(to), "{text}");
        }
    }

    #[test]
    fn a_bare_negative_number_is_no_place() {
        for wrong in ["-100", "1h", "", "@", "middle", "9223372036854775808"] {
            assert!(read_to(wrong, NOW).is_err(), "{wrong}");
        }
        assert!(read_to("-100", NOW).unwrap_err().contains("--by"));
    }

    #[test]
    fn a_group_is_named_as_a_topic_is() {
        assert!(check_group("billing-2.eu_west").is_ok());
        for wrong in ["", "a b", "a/b", &"x".repeat(235)] {
            assert!(check_group(wrong).is_err(), "{wrong}");
        }
        assert!(check_group(&"x".repeat(234)).is_ok());
    }

    #[test]
    fn what_was_not_chosen_by_name_or_number_is_left_out() {
        assert!(Chosen::default().is_everything() && Chosen::default().has("a", 7));
        let chosen = Chosen {
            topics: BTreeSet::from(["a".to_owned()]),
            partitions: BTreeSet::from([1, 2]),
        };
        assert!(chosen.has("a", 1) && !chosen.has("a", 0) && !chosen.has("b", 1));
    }
}
