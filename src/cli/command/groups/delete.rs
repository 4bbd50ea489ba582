//! `groups delete`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use serde::Serialize;

use super::read;
use crate::broker::admin::{delete_topics, wait_until_gone};
use crate::broker::error::ResponseError;
use crate::broker::{Cluster, commits, groups};
use crate::cli::Exit;
use crate::cli::command::topics::{ask, tell};
use crate::cli::output::{Output, plural};
use crate::clock;
use crate::group::log::{LogError, PREFIX};
use crate::group::record::{MemberId, Position};
use crate::group::state::State;

/// Between two looks at whether silent members are alive.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Beyond its session, so that a report under way is seen.
const SLACK: Duration = Duration::from_millis(500);
/// What each commit that barnabas made says of itself.
const OURS: &str = "barnabas";

/// What to delete, and how.
pub(super) struct Delete {
    pub(super) group: String,
    pub(super) yes: bool,
    pub(super) dry_run: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    group: &'a str,
    dry_run: bool,
    result: &'static str,
    topic: &'a str,
    partitions: usize,
    /// What came of the offsets that were committed to Kafka's own group of this name.
    native: &'static str,
}

/// Deletes a group: the offsets in Kafka's own group of its name, then its log with positions and history.
pub(super) async fn run(
    cluster: &Cluster,
    delete: &Delete,
    json: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let group = delete.group.as_str();
    let topic = format!("{PREFIX}{group}");
    if !delete.yes && !delete.dry_run && !output.can_ask() {
        ask(output, false, &format!("delete group {group}?"))?;
    }
    let state = read_or_advise(cluster, group, &topic).await?;
    let mut watch = Watch::default();
    nobody_lives(cluster, group, state.clone(), &mut watch, output).await?;
    let partitions = state.partitions.len();
    let what = format!("group {group} ({}, and its history)", positions(&state));
    if !delete.dry_run {
        let question = format!("delete {what}? There is no way back");
        if !ask(output, delete.yes, &question)? {
            return Err(anyhow!("nothing is deleted"));
        }
        // Somebody may have come while the answer was waited for.
        let state = read(cluster, group).await?.state;
        nobody_lives(cluster, group, state, &mut watch, output).await?;
    }
    // First: if the log went first and this failed, a new group of the name would find offsets of a lost log.
    let native = delete_native(cluster, group, delete.dry_run).await?;
    if !delete.dry_run {
        let mut outcomes = delete_topics(cluster, &[&topic]).await?;
        outcomes.pop().unwrap_or(Ok(()))?;
        wait_until_gone(cluster, &[&topic]).await?;
    }
    if json {
        output.json(&Report {
            group,
            dry_run: delete.dry_run,
            result: if delete.dry_run { "would_delete" } else { "deleted" },
            topic: &topic,
            partitions,
            native,
        })?;
        return Ok(Exit::Done);
    }
    let native = match native {
        "deleted" => "; its offsets in Kafka's own group are deleted as well",
        "would_delete" => "; its offsets in Kafka's own group would be deleted as well",
        "kept" => "; Kafka's own group of this name has offsets that are not barnabas', and keeps them",
        _ => "",
    };
    let done = if delete.dry_run { "would delete" } else { "deleted" };
    tell(
        output,
        delete.dry_run,
        &format!("{done} {what}: topic {topic}{native}"),
    )?;
    Ok(Exit::Done)
}

/// The group's state; where its log is no good, the way to be rid of it all the same.
async fn read_or_advise(cluster: &Cluster, group: &str, topic: &str) -> anyhow::Result<State> {
    match read(cluster, group).await {
        Ok(replayed) => Ok(replayed.state),
        Err(error) => match error.downcast_ref() {
            Some(LogError::Unfit { .. } | LogError::NoSnapshot { .. } | LogError::Unreadable { .. }) => {
                let advice = format!(
                    "group {group} is not deleted, as nobody can tell whether members live; \
                     if none do, delete its log: barnabas topics delete {topic}"
                );
                Err(error.context(advice))
            }
            _ => Err(error),
        },
    }
}

fn positions(state: &State) -> String {
    let known = state
        .partitions
        .values()
        .filter(|now| now.progress.next.is_some());
    plural(known.count() as u64, "position")
}

/// Makes sure that no member lives. Members may have died with nobody left to expire them, and no clock of theirs can be
/// compared with ours: whoever does not report for its whole session while we look is dead, as for any other member.
async fn nobody_lives(
    cluster: &Cluster,
    group: &str,
    mut state: State,
    watch: &mut Watch,
    output: &Output,
) -> anyhow::Result<()> {
    let mut told = false;
    loop {
        match watch.look(&state, clock::now()) {
            Verdict::Dead => return Ok(()),
            Verdict::Alive(member) => {
                let info = &state.members[&member];
                let name = info.instance.as_deref().unwrap_or(member.as_str());
                bail!(
                    "group {group} is not deleted: {} of it, such as {name} on {}, reported just now: stop them first",
                    plural(state.members.len() as u64, "member"),
                    info.host
                );
            }
            Verdict::Unsure(until) => {
                if !std::mem::replace(&mut told, true) {
                    let members = plural(state.members.len() as u64, "member");
                    output.note(&format!("group {group} has {members}: looking whether they live"));
                }
                clock::sleep_until(Some(until.min(clock::now() + LOOK_EVERY))).await;
            }
        }
        state = read(cluster, group).await?.state;
    }
}

/// The last signs of life that were seen.
#[derive(Debug, Default)]
struct Watch {
    /// Member → its last report, and when that was seen first.
    seen: BTreeMap<MemberId, (Position, Instant)>,
    begun: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// No member lives.
    Dead,
    /// This one does.
    Alive(MemberId),
    /// Until then nobody can tell.
    Unsure(Instant),
}

impl Watch {
    fn look(&mut self, state: &State, now: Instant) -> Verdict {
        let mut until: Option<Instant> = None;
        for (id, info) in &state.members {
            let (beat, since) = *self.seen.entry(id.clone()).or_insert((info.beat, now));
            // A member that came, or reported, since the first look.
            if beat != info.beat || self.begun && since == now {
                return Verdict::Alive(id.clone());
            }
            let over = since + Duration::from_millis(info.session_ms) + SLACK;
            if over > now {
                until = until.max(Some(over));
            }
        }
        self.begun = true;
        until.map_or(Verdict::Dead, Verdict::Unsure)
    }
}

/// Deletes the offsets that barnabas committed to Kafka's own group, and says what came of it.
async fn delete_native(cluster: &Cluster, group: &str, dry_run: bool) -> anyhow::Result<&'static str> {
    let committed = commits::committed(cluster, group, None).await;
    let committed = committed.with_context(|| {
        format!(
            "group {group} is not deleted: its offsets in Kafka's own group of this name have to go first"
        )
    })?;
    if committed.is_empty() {
        return Ok("none");
    }
    if !committed
        .values()
        .any(|committed| committed.metadata.starts_with(OURS))
    {
        return Ok("kept");
    }
    if dry_run {
        return Ok("would_delete");
    }
    match groups::delete(cluster, group).await {
        Ok(()) => Ok("deleted"),
        Err(error) if error.code() == Some(ResponseError::GroupIdNotFound) => Ok("none"),
        Err(error) => Err(anyhow::Error::from(error).context(format!(
            "group {group} is not deleted: its offsets in Kafka's own group of this name have to go first, \
             or a new group would take them for those of a lost log"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::state::MemberInfo;

    fn state(members: &[(u64, i64)]) -> State {
        let mut state = State::default();
        for &(member, beat) in members {
            let info = MemberInfo {
                instance: None,
                host: "h".to_owned(),
                topics: std::collections::BTreeSet::new(),
                session_ms: 10_000,
                speaks: 1,
                joined: Position::new(0, 1),
                beat: Position::new(0, beat),
                n: 0,
            };
            state.members.insert(MemberId::random(member), info);
        }
        state
    }

    #[test]
    fn a_group_without_members_is_dead_at_once() {
        assert_eq!(Watch::default().look(&state(&[]), clock::now()), Verdict::Dead);
    }

    #[test]
    fn a_member_is_dead_that_is_silent_for_its_whole_session() {
        let (mut watch, begun) = (Watch::default(), clock::now());
        let over = begun + Duration::from_secs(10) + SLACK;
        assert_eq!(watch.look(&state(&[(1, 5)]), begun), Verdict::Unsure(over));
        assert_eq!(
            watch.look(&state(&[(1, 5)]), begun + Duration::from_secs(9)),
            Verdict::Unsure(over)
        );
        assert_eq!(watch.look(&state(&[(1, 5)]), over), Verdict::Dead);
    }

    #[test]
    fn a_member_that_reports_or_comes_meanwhile_lives() {
        let (mut watch, begun) = (Watch::default(), clock::now());
        watch.look(&state(&[(1, 5)]), begun);
        let later = begun + Duration::from_secs(1);
        assert_eq!(
            watch.look(&state(&[(1, 6)]), later),
            Verdict::Alive(MemberId::random(1))
        );
        let (mut watch, begun) = (Watch::default(), clock::now());
        watch.look(&state(&[]), begun);
        assert_eq!(
            watch.look(&state(&[(2, 9)]), later + LOOK_EVERY),
            Verdict::Alive(MemberId::random(2))
        );
    }
}
