//! `consume --group`.

use std::sync::Arc;
use std::time::Duration;

use regex_lite::Regex;

use super::layers::Origin;
use super::offsets;
use super::produce::check_topic;
use super::{Settings, Usage, values, wrong};
use crate::group::driver::{StartFrom, Topics};

/// What stands before a group's name in its log topic's.
const LOG: &str = "barnabas.group.";
/// Longest name of a topic in Kafka.
const LONGEST_TOPIC: usize = 249;
/// Longest instance name.
const LONGEST_INSTANCE: usize = 255;
/// Shortest session: a quarter of it is the time between two reports.
const LEAST_SESSION: Duration = Duration::from_secs(2);
/// Longest session, as in Kafka's own groups.
const MOST_SESSION: Duration = Duration::from_secs(30 * 60);
/// Shortest time between two reports.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
/// Settings that are for a group only.
const ONLY_WITH: [&str; 7] = [
    "topics-regex",
    "from",
    "instance",
    "commit-interval",
    "session",
    "drain-timeout",
    "rebuild-from-native",
];

/// What a member of a group needs to know.
#[derive(Debug, Clone)]
pub struct JoinSettings {
    /// The group's name.
    pub group: String,
    /// What the group reads.
    pub topics: Topics,
    /// Where it starts in partitions that it has no position for.
    pub from: StartFrom,
    /// This member's name that stays over restarts.
    pub instance: Option<String>,
    /// Time between two commits of progress.
    pub commit_interval: Duration,
    /// How long a member may give no sign of life.
    pub session: Duration,
    /// How long what is under way may take when a partition is handed over, and at the end.
    pub drain: Duration,
    /// Whether to make a lost log anew.
    pub rebuild: bool,
}

impl Settings {
    /// A member's settings.
    pub(super) fn join(&self, group: String, now_millis: i64) -> Result<JoinSettings, Usage> {
        let longest = LONGEST_TOPIC - LOG.len();
        check_topic(&group)
            .ok()
            .filter(|()| group.len() <= longest)
            .ok_or_else(|| {
                let why = format!("is not a group's name: 1 to {longest} of a-z, A-Z, 0-9, . _ -");
                self.wrong("group", &format!("\"{group}\" {why}"))
            })?;
        for (name, instead) in [
            ("partition", "a group assigns its partitions itself"),
            ("offset", "use --from"),
        ] {
            if self.given(name) {
                return Err(self.wrong(name, &format!("this and --group exclude each other: {instead}")));
            }
        }
        let session = self.must("session", |text| within(text, LEAST_SESSION, MOST_SESSION))?;
        let most = session / 4;
        // A key's next event waits for it.
        let waited_for = self.text("commit").as_deref() == Some("each") && !self.given("commit-interval");
        let commit_interval = if waited_for {
            LEAST_INTERVAL
        } else {
            self.must("commit-interval", |text| {
                within(text, LEAST_INTERVAL, MOST_SESSION)
            })?
        };
        Ok(JoinSettings {
            topics: self.topics_of_group()?,
            from: self.must("from", |text| offsets::from(text, now_millis))?,
            instance: self.maybe("instance", instance)?,
            // Reports are signs of life as well.
            commit_interval: commit_interval.min(most),
            session,
            drain: self.must("drain-timeout", |text| within(text, Duration::ZERO, MOST_SESSION))?,
            rebuild: self.switch("rebuild-from-native")?,
            group,
        })
    }

    fn topics_of_group(&self) -> Result<Topics, Usage> {
        let named = self.topics_to_read()?;
        // The whole name, as with patterns of Kafka's own clients.
        let like = self.maybe("topics-regex", |text| {
            Regex::new(&format!("^(?:{text})$")).map_err(wrong)
        })?;
        match (named.is_empty(), like) {
            (false, None) => Ok(Topics::Named(named.into_iter().map(Arc::from).collect())),
            (true, Some(like)) => Ok(Topics::Like(like)),
            (false, Some(_)) => Err(self.wrong("topics-regex", "this and --topic exclude each other")),
            (true, None) => Err(Usage(
                "no topic: give -t TOPIC, --topics-regex REGEX or BARNABAS_TOPIC".to_owned(),
            )),
        }
    }

    /// Refuses flags that mean nothing without a group. Variables and files may be there for other commands.
    pub(super) fn refuse_without_group(&self) -> Result<(), Usage> {
        let by_flag = |name: &&&str| {
            self.find(name)
                .is_some_and(|given| matches!(given.origin, Origin::Flag(_)))
        };
        match ONLY_WITH.iter().find(by_flag) {
            Some(name) => Err(self.wrong(name, "this is for members of a group: give --group NAME")),
            None => Ok(()),
        }
    }
}

fn within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let duration = values::duration(text)?;
    if duration < least || duration > most {
        return Err(format!(
            "is not a duration from {} to {}",
            humantime::format_duration(least),
            humantime::format_duration(most)
        ));
    }
    Ok(duration)
}

fn instance(text: &str) -> Result<String, String> {
    if text.len() > LONGEST_INSTANCE || text.is_empty() || text.contains(char::is_control) {
        return Err(format!("is not a name of 1 to {LONGEST_INSTANCE} bytes"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_limits() {
        let session = |text| within(text, LEAST_SESSION, MOST_SESSION);
        assert_eq!(session("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(
            session("1999ms"),
            Err("is not a duration from 2s to 30m".to_owned())
        );
        assert!(session("31m").is_err());
        assert!(session("10").is_err());
    }

    #[test]
    fn an_instance_has_a_name_on_one_line() {
        assert_eq!(instance("billing-0"), Ok("billing-0".to_owned()));
        assert!(instance("").is_err());
        assert!(instance("a\nb").is_err());
        assert!(instance(&"x".repeat(256)).is_err());
    }
}
