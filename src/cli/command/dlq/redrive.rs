//! `dlq replay` and `dlq discard`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;

use super::{by_time, find_one, named, read};
use crate::broker::Cluster;
use crate::cli::Exit;
use crate::cli::command::topics::{ask, tell};
use crate::cli::output::{Output, plural};
use crate::cli::settings::ChosenLetters;
use crate::clock;
use crate::dead_letter::read::Everything;
use crate::dead_letter::redrive::{MAX_CHUNK, Pick, Redrive, Refused, Way, chunks, is_open, pick, plan};
use crate::dead_letter::split_dead;
use crate::dead_letter::topics::{Source, TopicError, Use, ensure, source};
use crate::produce::producer::{Producer, ProducerSettings};
use crate::record::Compression;
use crate::shutdown::Interrupts;

/// How long a letter may take to be acknowledged.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the brokers may take for the replicas.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Letters told one by one at most, of those that were not dealt with.
const MAX_TOLD: usize = 20;

/// What to do, whichever it is.
pub(super) struct Work {
    pub(super) letters: ChosenLetters,
    pub(super) operator: String,
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    dlq: &'a str,
    dry_run: bool,
    result: &'static str,
    /// Topics, and how many letters go to each.
    to: BTreeMap<&'a str, u64>,
    letters: Vec<Told<'a>>,
    interrupted: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    result: &'static str,
    error: Option<&'a str>,
}

/// The letters chosen, with what they were chosen from.
async fn choose(cluster: &Cluster, work: &Work, output: &Output) -> anyhow::Result<(Arc<str>, Vec<Pick>)> {
    let topic = find_one(cluster, &work.letters.dlq).await?;
    let all = read(cluster, &topic, output).await?;
    let picks = open_ones(&topic, &all, &work.letters)?;
    Ok((Arc::from(topic), picks))
}

fn open_ones(topic: &str, all: &Everything, chosen: &ChosenLetters) -> anyhow::Result<Vec<Pick>> {
    let letters = named(topic, by_time(all), &chosen.ids)?;
    if let Some(done) = letters
        .iter()
        .find(|letter| !chosen.ids.is_empty() && !is_open(letter))
    {
        bail!(
            "topic {topic}: letter {} is {} already",
            done.id,
            done.state.name()
        );
    }
    Ok(letters
        .iter()
        .filter(|letter| is_open(letter) && chosen.filter.matches(letter.detail))
        .map(|letter| pick(all, letter))
        .collect())
}

/// Replays letters.
pub(super) async fn replay(
    cluster: &Cluster,
    work: &Work,
    to_source: bool,
    rate: Option<u32>,
    output: &Output,
) -> anyhow::Result<Exit> {
    let chosen = &work.letters;
    if !chosen.yes && !chosen.dry_run && !output.can_ask() {
        ask(output, false, &format!("replay dead letters of {}?", chosen.dlq))?;
    }
    let (topic, picks) = choose(cluster, work, output).await?;
    if picks.is_empty() {
        return nothing(&topic, "replay", work, output);
    }
    let way = if to_source {
        Way::Source(sources(cluster, &picks).await?)
    } else {
        to_group(cluster, &topic, chosen.dry_run, output).await?
    };
    let (planned, refused) = plan(picks, &way);
    let mut to: BTreeMap<&str, u64> = BTreeMap::new();
    for target in planned.iter().filter_map(|pick| pick.to.as_ref()) {
        *to.entry(&target.topic).or_default() += 1;
    }
    let what = where_to(&to);
    if chosen.dry_run {
        return dry(
            &topic,
            "would_replay",
            &format!("would replay {what}"),
            (&planned, &refused, to),
            work,
            output,
        );
    }
    if !planned.is_empty() {
        let question = format!("replay {what}?");
        if !ask(output, chosen.yes, &question)? {
            return Err(anyhow!("nothing is replayed"));
        }
        if to_source {
            let question = format!(
                "every reader of {} gets them again, not only the group that failed; really?",
                to.keys().copied().collect::<Vec<_>>().join(", ")
            );
            if !ask(output, chosen.yes, &question)? {
                return Err(anyhow!("nothing is replayed"));
            }
        }
    }
    if to_source && split_dead(&topic).is_none() && !work.json {
        output.note(&format!(
            "topic {topic} is not one of barnabas': its letters are not marked, and stay open"
        ));
    }
    let redrive = redrive(cluster, &topic, work);
    let most = rate.map_or(MAX_CHUNK, |rate| usize::try_from(rate).unwrap_or(MAX_CHUNK));
    let mut outcomes = Vec::new();
    let mut interrupts = Interrupts::new()?;
    let mut interrupted = false;
    let mut due = clock::now();
    for chunk in chunks(&planned, most) {
        tokio::select! {
            biased;
            () = interrupts.next() => {
                interrupted = true;
                break;
            }
            () = clock::sleep_until(Some(due)) => {}
        }
        if let Some(rate) = rate {
            let count = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            due = clock::now() + Duration::from_secs(1) * count / rate;
        }
        // Not given up half-way: a letter that was replayed and not marked would be replayed again.
        let done = redrive
            .replay(chunk)
            .await
            .with_context(|| format!("{} replayed before that", plural(outcomes.len() as u64, "letter")))?;
        outcomes.extend(done);
    }
    let done = Done {
        result: "replayed",
        planned: &planned,
        outcomes: &outcomes,
        refused: &refused,
        to,
        interrupted,
    };
    finish(&topic, done, work, output)
}

/// Marks letters as discarded.
pub(super) async fn discard(cluster: &Cluster, work: &Work, output: &Output) -> anyhow::Result<Exit> {
    let chosen = &work.letters;
    if !chosen.yes && !chosen.dry_run && !output.can_ask() {
        ask(output, false, &format!("discard dead letters of {}?", chosen.dlq))?;
    }
    let (topic, picks) = choose(cluster, work, output).await?;
    if split_dead(&topic).is_none() {
        bail!("topic {topic} is not one of barnabas' (TOPIC.dlq.GROUP): its letters cannot be marked");
    }
    if picks.is_empty() {
        return nothing(&topic, "discard", work, output);
    }
    let what = format!("{} in {topic}", plural(picks.len() as u64, "letter"));
    if chosen.dry_run {
        return dry(
            &topic,
            "would_discard",
            &format!("would discard {what}"),
            (&picks, &[], BTreeMap::new()),
            work,
            output,
        );
    }
    if !ask(output, chosen.yes, &format!("discard {what}?"))? {
        return Err(anyhow!("nothing is discarded"));
    }
    let redrive = redrive(cluster, &topic, work);
    let mut interrupts = Interrupts::new()?;
    let (mut outcomes, mut interrupted) = (Vec::new(), false);
    for chunk in chunks(&picks, MAX_CHUNK) {
        tokio::select! {
            biased;
            () = interrupts.next() => {
                interrupted = true;
                break;
            }
            done = redrive.discard(chunk) => outcomes.extend(done),
        }
    }
    let done = Done {
        result: "discarded",
        planned: &picks,
        outcomes: &outcomes,
        refused: &[],
        to: BTreeMap::new(),
        interrupted,
    };
    finish(&topic, done, work, output)
}

fn redrive(cluster: &Cluster, topic: &Arc<str>, work: &Work) -> Redrive {
    let settings = ProducerSettings {
        delivery_timeout: DELIVERY_TIMEOUT,
        request_timeout: REQUEST_TIMEOUT,
        compression: Compression::default(),
    };
    Redrive {
        cluster: cluster.clone(),
        producer: Producer::start(cluster.clone(), settings),
        topic: Arc::clone(topic),
        ours: split_dead(topic).is_some(),
        by: work.operator.clone(),
        why: work.letters.why.clone(),
    }
}

/// The group's topic of replays, made if it is not there.
async fn to_group(cluster: &Cluster, topic: &str, dry_run: bool, output: &Output) -> anyhow::Result<Way> {
    let Some((from, group)) = split_dead(topic) else {
        bail!(
            "topic {topic} is not one of barnabas' (TOPIC.dlq.GROUP): no group reads replays of it; --to-source publishes \
             its letters to the topics that they came from"
        );
    };
    let source = source(cluster, from)
        .await
        .with_context(|| format!("the letters in {topic} cannot be replayed"))?;
    let name = Use::Replay.name(from, group)?;
    match ensure(cluster, &source, group, Use::Replay, !dry_run).await {
        Ok(usable) => {
            for warning in &usable.warnings {
                output.warn(warning);
            }
        }
        // It would be made.
        Err(TopicError::Missing { .. }) if dry_run => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Way::Group {
        group: group.to_owned(),
        topic: Arc::from(name),
        source,
    })
}

/// The topics that letters came from, as far as they exist.
async fn sources(cluster: &Cluster, picks: &[Pick]) -> anyhow::Result<BTreeMap<String, Source>> {
    let mut sources = BTreeMap::new();
    for topic in picks.iter().filter_map(|pick| pick.letter.topic.as_ref()) {
        if sources.contains_key(topic) {
            continue;
        }
        let found = match source(cluster, topic).await {
            Err(TopicError::Missing { .. }) => continue,
            found => found?,
        };
        match found.compacted {
            Some(false) => {}
            Some(true) => bail!(
                "topic {topic} is compacted: an old record, published again, would take the place of a newer one; replay \
                 to the group, without --to-source"
            ),
            None => bail!(
                "it cannot be seen whether topic {topic} is compacted, and to one that is nothing may be replayed: this \
                 user has no right to DescribeConfigs"
            ),
        }
        sources.insert(topic.clone(), found);
    }
    Ok(sources)
}

fn where_to(to: &BTreeMap<&str, u64>) -> String {
    let parts: Vec<String> = to
        .iter()
        .map(|(topic, count)| format!("{} to {topic}", plural(*count, "letter")))
        .collect();
    if parts.is_empty() {
        "no letter".to_owned()
    } else {
        parts.join(", ")
    }
}

fn nothing(topic: &str, verb: &str, work: &Work, output: &Output) -> anyhow::Result<Exit> {
    if work.json {
        output.json(&Report {
            dlq: topic,
            dry_run: work.letters.dry_run,
            result: "nothing",
            to: BTreeMap::new(),
            letters: Vec::new(),
            interrupted: false,
        })?;
    } else {
        let like = if work.letters.filter.is_empty() {
            ""
        } else {
            " like that"
        };
        output.note(&format!(
            "topic {topic} has no open letter{like}: nothing to {verb}"
        ));
    }
    Ok(Exit::Done)
}

type Planned<'a> = (&'a [Pick], &'a [Refused], BTreeMap<&'a str, u64>);

fn dry(
    topic: &str,
    result: &'static str,
    text: &str,
    (planned, refused, to): Planned<'_>,
    work: &Work,
    output: &Output,
) -> anyhow::Result<Exit> {
    if work.json {
        let would = planned.iter().map(|pick| Told {
            id: &pick.id,
            result,
            error: None,
        });
        output.json(&Report {
            dlq: topic,
            dry_run: true,
            result,
            to,
            letters: would.chain(refused.iter().map(told)).collect(),
            interrupted: false,
        })?;
    } else {
        tell(output, true, text)?;
        warn_of(
            refused
                .iter()
                .map(|refused| (refused.id.as_str(), refused.why.as_str())),
            output,
        );
    }
    Ok(if refused.is_empty() {
        Exit::Done
    } else {
        Exit::Refused
    })
}

fn told(refused: &Refused) -> Told<'_> {
    Told {
        id: &refused.id,
        result: "refused",
        error: Some(&refused.why),
    }
}

/// How it went.
struct Done<'a> {
    result: &'static str,
    planned: &'a [Pick],
    /// Of the first so many of them.
    outcomes: &'a [Result<(), String>],
    refused: &'a [Refused],
    to: BTreeMap<&'a str, u64>,
    interrupted: bool,
}

fn finish(topic: &str, done: Done<'_>, work: &Work, output: &Output) -> anyhow::Result<Exit> {
    let dealt_with = done.outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let failed = done.outcomes.len() - dealt_with + done.refused.len();
    let pairs = || done.planned.iter().zip(done.outcomes);
    if work.json {
        let letters = pairs().map(|(pick, outcome)| Told {
            id: &pick.id,
            result: if outcome.is_ok() { done.result } else { "failed" },
            error: outcome.as_ref().err().map(String::as_str),
        });
        output.json(&Report {
            dlq: topic,
            dry_run: false,
            result: done.result,
            to: done.to,
            letters: letters.chain(done.refused.iter().map(told)).collect(),
            interrupted: done.interrupted,
        })?;
    } else {
        let failures =
            pairs().filter_map(|(pick, outcome)| Some((pick.id.as_str(), outcome.as_ref().err()?.as_str())));
        let refused = done.refused.iter();
        warn_of(
            failures.chain(refused.map(|refused| (refused.id.as_str(), refused.why.as_str()))),
            output,
        );
        let left = done.planned.len() - done.outcomes.len();
        let left = if done.interrupted {
            format!("; interrupted, {left} left")
        } else {
            String::new()
        };
        output.note(&format!(
            "{} {}{left}",
            done.result,
            plural(dealt_with as u64, "letter")
        ));
    }
    Ok(match (done.interrupted, failed) {
        (true, _) => Exit::Interrupted,
        (false, 0) => Exit::Done,
        (false, _) => Exit::Refused,
    })
}

fn warn_of<'a>(failures: impl Iterator<Item = (&'a str, &'a str)>, output: &Output) {
    let mut more = 0_u64;
    for (index, (id, why)) in failures.enumerate() {
        if index < MAX_TOLD {
            output.warn(&format!("letter {id}: {why}"));
        } else {
            more += 1;
        }
    }
    if more > 0 {
        output.warn(&format!("{} more (--json has them all)", plural(more, "letter")));
    }
}
