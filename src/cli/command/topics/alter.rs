//! `topics alter`.

use anyhow::anyhow;
use serde::Serialize;

use super::describe::{in_words, source_name};
use super::{Named, ask, find, settle, tell, told};
use crate::broker::admin::{create_partitions, find_topics, wait_until_led};
use crate::broker::admin_configs::{Change, Config, Source, alter_configs, describe_configs};
use crate::broker::{Cluster, Error};
use crate::cli::Exit;
use crate::cli::output::Output;
use crate::cli::settings::AlterTopics;

#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    topics: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    result: &'static str,
    partitions: Option<PartitionsLine>,
    configs: Vec<ConfigLine<'a>>,
    error: Option<String>,
}

#[derive(Serialize)]
struct PartitionsLine {
    from: i32,
    to: i32,
}

#[derive(Serialize)]
struct ConfigLine<'a> {
    name: &'a str,
    from: Option<&'a str>,
    from_source: Option<&'static str>,
    to: Option<&'a str>,
}

/// What is to be changed in a topic, without what is so already.
struct Plan<'a> {
    name: &'a str,
    /// From, to.
    partitions: Option<(i32, i32)>,
    configs: Vec<Step<'a>>,
}

/// A configuration's change.
struct Step<'a> {
    change: &'a Change,
    /// What it is now, if that is known.
    now: Option<Config>,
}

/// Changes topics' partitions and configuration. The brokers check everything before the first change is made.
pub(super) async fn run(
    cluster: &Cluster,
    alter: &AlterTopics,
    json: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let changes = changes(alter);
    let names: Vec<&str> = alter.topics.iter().map(String::as_str).collect();
    let view = find_topics(cluster, &names).await?;
    let (found, missing) = find(&view, &alter.topics);
    if !missing.is_empty() {
        output.note("nothing is changed");
        return settle(output, "found", names.len(), missing);
    }
    let plans = plan(cluster, alter, &changes, &found).await?;
    let failures = apply(cluster, &plans, true).await?;
    for (plan, failure) in plans.iter().zip(&failures) {
        if let (Some((from, to)), None) = (plan.partitions, failure) {
            output.warn(&format!(
                "topic {}: with {to} partitions instead of {from} keys go to other partitions than before; order per \
                 key holds only among new records",
                plan.name
            ));
        }
    }
    if failures.iter().any(Option::is_some) || alter.dry_run {
        return report(output, &plans, failures, alter.dry_run, true, json);
    }
    let risks: Vec<String> = plans.iter().filter_map(Plan::risk).collect();
    let question = format!("{}? There is no way back", risks.join("; "));
    if !risks.is_empty() && !ask(output, alter.yes, &question)? {
        return Err(anyhow!("nothing is changed"));
    }
    let failures = apply(cluster, &plans, false).await?;
    let grown: Vec<(&str, i32)> = plans
        .iter()
        .zip(&failures)
        .filter(|(_, failure)| failure.is_none())
        .filter_map(|(plan, _)| Some((plan.name, plan.partitions?.1)))
        .collect();
    if !grown.is_empty()
        && let Err(error) = wait_until_led(cluster, &grown).await
    {
        output.warn(&format!("changed, but not ready yet: {}", told(&error)));
    }
    report(output, &plans, failures, false, false, json)
}

fn changes(alter: &AlterTopics) -> Vec<Change> {
    let set = alter
        .configs
        .iter()
        .map(|(name, value)| Change::Set(name.clone(), value.clone()));
    let unset = alter.unset.iter().map(|name| Change::Unset(name.clone()));
    set.chain(unset).collect()
}

/// Looks up what is so already.
async fn plan<'a>(
    cluster: &Cluster,
    alter: &AlterTopics,
    changes: &'a [Change],
    found: &[Named<'a>],
) -> Result<Vec<Plan<'a>>, Error> {
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    let keys: Vec<&str> = changes.iter().map(config_name).collect();
    let known = if keys.is_empty() {
        vec![Ok(Vec::new()); names.len()]
    } else {
        describe_configs(cluster, &names, Some(&keys)).await?
    };
    let plans = found.iter().zip(known).map(|((name, topic), known)| {
        // Who may change and not read gets no comparison.
        let known = known.unwrap_or_default();
        let steps = changes.iter().map(|change| Step {
            change,
            now: known
                .iter()
                .find(|config| config.name == config_name(change))
                .cloned(),
        });
        let from = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        Plan {
            name,
            partitions: alter
                .partitions
                .map(|to| (from, to))
                .filter(|(from, to)| from != to),
            configs: steps.filter(|step| !step.is_done()).collect(),
        }
    });
    Ok(plans.collect())
}

/// Makes the changes, or has the brokers check them: configuration first, and partitions where that went well. For
/// each plan its failure.
async fn apply(cluster: &Cluster, plans: &[Plan<'_>], dry_run: bool) -> Result<Vec<Option<Error>>, Error> {
    let mut failures = Vec::new();
    for plan in plans {
        failures.push(apply_one(cluster, plan, dry_run).await?);
    }
    Ok(failures)
}

async fn apply_one(cluster: &Cluster, plan: &Plan<'_>, dry_run: bool) -> Result<Option<Error>, Error> {
    if !plan.configs.is_empty() {
        let changes: Vec<Change> = plan.configs.iter().map(|step| step.change.clone()).collect();
        let outcomes = alter_configs(cluster, &[plan.name], &changes, dry_run).await?;
        if let Some(error) = outcomes.into_iter().find_map(Result::err) {
            return Ok(Some(error));
        }
    }
    if let Some((_, to)) = plan.partitions {
        let outcomes = create_partitions(cluster, &[(plan.name, to)], dry_run).await?;
        return Ok(outcomes.into_iter().find_map(Result::err));
    }
    Ok(None)
}

fn config_name(change: &Change) -> &str {
    match change {
        Change::Set(name, _) | Change::Unset(name) => name,
    }
}

impl Step<'_> {
    /// The new value; nothing if it is the brokers' default.
    fn to(&self) -> Option<&str> {
        match self.change {
            Change::Set(_, value) => Some(value),
            Change::Unset(_) => None,
        }
    }

    fn from(&self) -> Option<&str> {
        self.now.as_ref()?.value.as_deref()
    }

    fn is_done(&self) -> bool {
        let Some(now) = &self.now else { return false };
        match self.change {
            // The same value by default may become another one when the default changes.
            Change::Set(_, value) => now.source == Source::Topic && now.value.as_ref() == Some(value),
            Change::Unset(_) => now.source != Source::Topic,
        }
    }

    /// Whether records may be deleted because of it.
    fn may_delete(&self) -> bool {
        match config_name(self.change) {
            // -1 is no limit.
            "retention.ms" | "retention.bytes" => {
                let number = |text: Option<&str>| text?.parse().ok().filter(|&limit: &i64| limit >= 0);
                let known = self.from().is_some() && self.to().is_some();
                match (number(self.from()), number(self.to())) {
                    _ if !known => true,
                    (_, None) => false,
                    (None, Some(_)) => true,
                    (Some(from), Some(to)) => to < from,
                }
            }
            "cleanup.policy" => self.from() != self.to(),
            _ => false,
        }
    }

    /// `retention.ms 604800000 (7days) → 86400000 (1day)`
    fn text(&self) -> String {
        let name = config_name(self.change);
        let words = |value: &str| match in_words(name, value) {
            Some(words) => format!("{value} ({words})"),
            None => value.to_owned(),
        };
        let from = self.from().map_or_else(|| "?".to_owned(), words);
        let to = self.to().map_or_else(|| "the brokers' default".to_owned(), words);
        format!("{name} {from} → {to}")
    }
}

impl Plan<'_> {
    fn is_empty(&self) -> bool {
        self.partitions.is_none() && self.configs.is_empty()
    }

    /// `orders: partitions 3 → 6, retention.ms …`
    fn text(&self) -> String {
        let partitions = self
            .partitions
            .map(|(from, to)| format!("partitions {from} → {to}"));
        let steps: Vec<String> = partitions
            .into_iter()
            .chain(self.configs.iter().map(Step::text))
            .collect();
        format!("{}: {}", self.name, steps.join(", "))
    }

    /// What cannot be taken back, if anything, as a question without its mark.
    fn risk(&self) -> Option<String> {
        let mut risks = Vec::new();
        if let Some((from, to)) = self.partitions {
            risks.push(format!(
                "raise topic {} from {from} to {to} partitions",
                self.name
            ));
        }
        let deleting = self.configs.iter().filter(|step| step.may_delete());
        risks.extend(deleting.map(|step| {
            format!(
                "let the brokers delete records of topic {} ({})",
                self.name,
                step.text()
            )
        }));
        (!risks.is_empty()).then(|| risks.join(", "))
    }
}

/// `only_checked`: nothing was changed, since that was all that was asked for or some check failed.
fn report(
    output: &Output,
    plans: &[Plan<'_>],
    failures: Vec<Option<Error>>,
    dry_run: bool,
    only_checked: bool,
    json: bool,
) -> anyhow::Result<Exit> {
    let results = plans.iter().zip(&failures).map(|(plan, failure)| match failure {
        Some(_) => "failed",
        None if plan.is_empty() => "unchanged",
        None if only_checked => "would_alter",
        None => "altered",
    });
    let results: Vec<&'static str> = results.collect();
    if json {
        let lines = plans.iter().zip(&failures).zip(&results);
        let lines = lines.map(|((plan, failure), result)| line(plan, failure.as_ref(), result));
        output.json(&Report {
            dry_run,
            topics: lines.collect(),
        })?;
    } else {
        for (plan, result) in plans.iter().zip(&results) {
            match *result {
                "unchanged" => tell(output, dry_run, &format!("{} is so already", plan.name))?,
                "would_alter" if dry_run => tell(output, true, &format!("would alter {}", plan.text()))?,
                "altered" => tell(output, false, &format!("altered {}", plan.text()))?,
                _ => {}
            }
        }
    }
    let failed: Vec<anyhow::Error> = failures.into_iter().flatten().map(Into::into).collect();
    if only_checked && !failed.is_empty() {
        output.note("nothing is changed");
    }
    settle(output, "altered", plans.len(), failed)
}

fn line<'a>(plan: &'a Plan<'_>, failure: Option<&Error>, result: &'static str) -> Line<'a> {
    let configs = plan.configs.iter().map(|step| ConfigLine {
        name: config_name(step.change),
        from: step.from(),
        from_source: step.now.as_ref().map(|config| source_name(config.source)),
        to: step.to(),
    });
    Line {
        name: plan.name,
        result,
        partitions: plan.partitions.map(|(from, to)| PartitionsLine { from, to }),
        configs: configs.collect(),
        error: failure.map(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(name: &str, value: &str, source: Source) -> Option<Config> {
        Some(Config {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
            read_only: false,
        })
    }

    fn set(name: &str, value: &str) -> Change {
        Change::Set(name.to_owned(), value.to_owned())
    }

    #[test]
    fn shorter_retention_deletes_and_longer_does_not() {
        let deletes = |from: &str, to: &str| {
            let change = set("retention.ms", to);
            let now = now("retention.ms", from, Source::Default);
            Step { change: &change, now }.may_delete()
        };
        assert!(deletes("2000", "1000"));
        assert!(!deletes("1000", "2000"));
        assert!(deletes("-1", "1000"));
        assert!(!deletes("1000", "-1"));
        assert!(!deletes("-1", "-1"));
    }

    #[test]
    fn what_is_not_known_may_delete() {
        let change = set("retention.ms", "1000");
        let step = Step {
            change: &change,
            now: None,
        };
        assert!(step.may_delete());
        let change = Change::Unset("retention.bytes".to_owned());
        let now = now("retention.bytes", "5", Source::Topic);
        assert!(Step { change: &change, now }.may_delete());
        let change = set("segment.ms", "1000");
        let step = Step {
            change: &change,
            now: None,
        };
        assert!(!step.may_delete());
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let done = |change: &Change, source| {
            let now = now("a", "1", source);
            Step { change, now }.is_done()
        };
        assert!(done(&set("a", "1"), Source::Topic));
        assert!(!done(&set("a", "2"), Source::Topic));
        assert!(!done(&set("a", "1"), Source::Default));
        assert!(done(&Change::Unset("a".to_owned()), Source::BrokerFile));
        assert!(!done(&Change::Unset("a".to_owned()), Source::Topic));
    }

    #[test]
    fn a_plan_is_told_with_what_was_before() {
        let change = set("retention.ms", "86400000");
        let unset = Change::Unset("max.message.bytes".to_owned());
        let plan = Plan {
            name: "orders",
            partitions: Some((3, 6)),
            configs: vec![
                Step {
                    change: &change,
                    now: now("retention.ms", "-1", Source::Topic),
                },
                Step {
                    change: &unset,
                    now: None,
                },
            ],
        };
        assert_eq!(
            plan.text(),
            "orders: partitions 3 → 6, retention.ms -1 (for ever) → 86400000 (1day), max.message.bytes ? → the \
             brokers' default"
        );
        assert!(
            plan.risk()
                .unwrap()
                .starts_with("raise topic orders from 3 to 6 partitions, let")
        );
    }
}
