//! The settings of a log's topic: those of a new one, and what to make of those that are found. Pure.

use crate::broker::admin_configs::Config;

/// What is read of a log's topic.
pub(super) const CHECKED: [&str; 6] = [
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "unclean.leader.election.enable",
    "min.insync.replicas",
    "max.message.bytes",
];
/// The most replicas that a log is made with.
const REPLICAS: usize = 3;
/// What a record of the largest size takes, with its batch.
const LARGEST: i64 = (crate::group::record::MAX_RECORD + 1024) as i64;

/// Replicas and configuration of a new log in a cluster of so many brokers.
pub(super) fn of_a_new_log(brokers: usize) -> (i16, Vec<(String, String)>) {
    let replicas = REPLICAS.min(brokers.max(1));
    let mut configs = vec![
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("unclean.leader.election.enable", "false"),
    ];
    if replicas >= REPLICAS {
        configs.push(("min.insync.replicas", "2"));
    }
    let configs = configs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    (i16::try_from(replicas).unwrap_or(1), configs.collect())
}

/// What to make of a topic.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Why it cannot be a log.
    pub(super) unfit: Option<String>,
    /// What is not as it should be.
    pub(super) warnings: Vec<String>,
}

/// Judges the settings of a topic with so many replicas in a cluster of so many brokers.
pub(super) fn judge(configs: &[Config], replicas: usize, brokers: usize) -> Verdict {
    let mut verdict = Verdict::default();
    let value = |name: &str| {
        let config = configs.iter().find(|config| config.name == name);
        config.and_then(|config| config.value.as_deref())
    };
    let wrong = |name: &str, right: &str| value(name).filter(|found| *found != right);
    if let Some(found) = wrong("cleanup.policy", "delete") {
        verdict.unfit = Some(format!(
            "its cleanup.policy is {found}, which would take records out of it; set it to delete"
        ));
    } else if let Some((name, found)) = ["retention.ms", "retention.bytes"]
        .into_iter()
        .find_map(|name| Some((name, wrong(name, "-1")?)))
    {
        verdict.unfit = Some(format!(
            "its {name} is {found}, so that records would vanish from it; set it to -1 (it is kept short by barnabas)"
        ));
    }
    if wrong("unclean.leader.election.enable", "false").is_some() {
        verdict.warnings.push(
            "its unclean.leader.election.enable is true: it may lose records, and two members may then own a partition for a session"
                .to_owned(),
        );
    }
    let wanted = REPLICAS.min(brokers.max(1));
    if replicas < wanted {
        verdict.warnings.push(format!(
            "its replication factor is {replicas} and should be {wanted}: the group stops when that broker does"
        ));
    }
    let in_sync = value("min.insync.replicas").and_then(|value| value.parse::<usize>().ok());
    if replicas >= REPLICAS && in_sync.is_some_and(|in_sync| in_sync < 2) {
        verdict.warnings.push(
            "its min.insync.replicas is 1 and should be 2: a record may be lost with one broker".to_owned(),
        );
    }
    let largest = value("max.message.bytes").and_then(|value| value.parse::<i64>().ok());
    if let Some(found) = largest.filter(|found| *found < LARGEST) {
        verdict.warnings.push(format!(
            "its max.message.bytes is {found} and should be {LARGEST} at least: reports and snapshots of a large group do not fit"
        ));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::admin_configs::Source;

    fn found(changed: &[(&str, &str)]) -> Vec<Config> {
        let mut all = of_a_new_log(3).1;
        for (name, value) in changed {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        let config = |(name, value)| Config {
            name,
            value: Some(value),
            source: Source::Topic,
            read_only: false,
        };
        all.into_iter().map(config).collect()
    }

    #[test]
    fn a_new_log_is_found_right() {
        assert_eq!(judge(&found(&[]), 3, 5), Verdict::default());
        assert_eq!(of_a_new_log(2).0, 2);
        assert_eq!(
            judge(&found(&[("min.insync.replicas", "1")]), 1, 1),
            Verdict::default()
        );
    }

    #[test]
    fn what_would_take_records_out_of_it_is_refused() {
        for change in [
            ("cleanup.policy", "compact"),
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "604800000"),
            ("retention.bytes", "1000000"),
        ] {
            let unfit = judge(&found(&[change]), 3, 3).unfit.unwrap();
            assert!(unfit.contains(change.0) && unfit.contains(change.1), "{unfit}");
        }
    }

    #[test]
    fn what_makes_it_less_safe_is_warned_of() {
        for (change, replicas) in [
            (("unclean.leader.election.enable", "true"), 3),
            (("min.insync.replicas", "1"), 3),
            (("max.message.bytes", "100000"), 3),
            (("min.insync.replicas", "2"), 2),
        ] {
            let verdict = judge(&found(&[change]), replicas, 3);
            assert_eq!(
                (verdict.unfit, verdict.warnings.len()),
                (None, 1),
                "{change:?}: {:?}",
                verdict.warnings
            );
        }
    }
}
