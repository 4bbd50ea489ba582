//! `groups pause` and `groups resume`.

use serde::Serialize;

use super::{Manner, choose, decide, read};
use crate::broker::Cluster;
use crate::broker::metadata::PartitionId;
use crate::cli::Exit;
use crate::cli::command::topics::tell;
use crate::cli::output::Output;
use crate::cli::settings::SwitchGroup;
use crate::group::history::Partitions;
use crate::group::record::Record;
use crate::group::state::State;

#[derive(Serialize)]
struct Report<'a> {
    group: &'a str,
    dry_run: bool,
    /// Null if the group as a whole is meant.
    partitions: Option<Vec<Line>>,
    /// What came of the group as a whole; null if partitions are meant.
    result: Option<&'static str>,
}

#[derive(Serialize)]
struct Line {
    topic: String,
    partition: i32,
    result: &'static str,
}

/// Pauses or resumes a group or some of its partitions. It is not asked for: there is a way back.
pub(super) async fn run(
    cluster: &Cluster,
    switch: &SwitchGroup,
    manner: &Manner,
    output: &Output,
) -> anyhow::Result<Exit> {
    let state = read(cluster, &switch.group).await?.state;
    let places: Vec<Option<PartitionId>> = if switch.chosen.is_everything() {
        vec![None]
    } else {
        let partitions = choose(&switch.group, &state, &switch.chosen)?;
        partitions.into_iter().map(Some).collect()
    };
    let mut results = Vec::new();
    for place in &places {
        let changed = if switch.dry_run {
            is_paused(&state, place.as_ref()) != switch.pause
        } else {
            let mut paused = false;
            let record = |state: &State| {
                paused = is_paused(state, place.as_ref());
                Ok(record(state, switch, place.as_ref(), &manner.operator))
            };
            let written = decide(cluster, &switch.group, record).await?.is_some();
            written && paused != switch.pause
        };
        let result = result(switch.pause, switch.dry_run, changed);
        if !manner.json {
            let what = match place {
                None => format!("group {}", switch.group),
                Some((topic, partition)) => format!("{topic} {partition}"),
            };
            let words = match result {
                // Whether one has blown, only the members know.
                "not_paused" if !switch.dry_run => {
                    "not paused; if a fuse has blown, it is whole again".to_owned()
                }
                result => result.replace('_', " "),
            };
            tell(output, switch.dry_run, &format!("{what}: {words}"))?;
        }
        results.push(result);
    }
    let still = still_paused(&state, switch);
    if !still.is_empty() {
        output.note(&format!(
            "still paused by themselves: {still} (barnabas groups resume {} --topic …)",
            switch.group
        ));
    }
    if manner.json {
        let lines = places.iter().zip(&results).filter_map(|(place, result)| {
            let (topic, partition) = place.as_ref()?;
            Some(Line {
                topic: topic.to_string(),
                partition: *partition,
                result,
            })
        });
        let whole = switch.chosen.is_everything();
        output.json(&Report {
            group: &switch.group,
            dry_run: switch.dry_run,
            partitions: (!whole).then(|| lines.collect()),
            result: results.first().copied().filter(|_| whole),
        })?;
    }
    Ok(Exit::Done)
}

/// Whether that itself was paused; of a partition not whether the whole group is.
fn is_paused(state: &State, place: Option<&PartitionId>) -> bool {
    match place {
        None => state.paused,
        Some(partition) => state.partitions.get(partition).is_some_and(|now| now.paused),
    }
}

/// The partitions that stay paused when the group as a whole is resumed.
fn still_paused(state: &State, switch: &SwitchGroup) -> Partitions {
    if switch.pause || !switch.chosen.is_everything() {
        return Partitions::default();
    }
    let paused = state.partitions.iter().filter(|(_, now)| now.paused);
    paused.map(|(partition, _)| partition).collect()
}

/// None for a pause of what is paused already. A resume is written in any case: a fuse that has blown lives in the
/// members alone, who hear of it by that.
fn record(
    state: &State,
    switch: &SwitchGroup,
    place: Option<&PartitionId>,
    operator: &str,
) -> Option<Record> {
    if switch.pause && is_paused(state, place) {
        return None;
    }
    let seen = match place {
        None => state.pause_seen,
        Some(partition) => state.partitions.get(partition)?.pause_seen,
    };
    let (by, why, partition) = (operator.to_owned(), switch.why.clone(), place.cloned());
    Some(if switch.pause {
        Record::Pause {
            by,
            why,
            partition,
            seen,
        }
    } else {
        Record::Resume {
            by,
            why,
            partition,
            seen,
        }
    })
}

fn result(pause: bool, dry_run: bool, changed: bool) -> &'static str {
    match (pause, changed, dry_run) {
        (true, false, _) => "already_paused",
        (false, false, _) => "not_paused",
        (true, true, true) => "would_pause",
        (false, true, true) => "would_resume",
        (true, true, false) => "paused",
        (false, true, false) => "resumed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::Chosen;
    use crate::group::record::Position;

    fn switch(pause: bool) -> SwitchGroup {
        SwitchGroup {
            group: "g".to_owned(),
            pause,
            chosen: Chosen::default(),
            why: "why".to_owned(),
            dry_run: false,
        }
    }

    #[test]
    fn a_pause_carries_the_state_that_it_changes() {
        let mut state = State::default();
        state.pause_seen = Position::new(1, 7);
        match record(&state, &switch(true), None, "ann") {
            Some(Record::Pause {
                seen,
                partition: None,
                ..
            }) => assert_eq!(seen, Position::new(1, 7)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pause_of_what_is_paused_is_not_written_but_every_resume_is() {
        let mut state = State::default();
        let resume = |state: &State| record(state, &switch(false), None, "ann");
        assert!(matches!(resume(&state), Some(Record::Resume { .. })));
        state.paused = true;
        assert_eq!(record(&state, &switch(true), None, "ann"), None);
        assert!(matches!(resume(&state), Some(Record::Resume { .. })));
    }

    #[test]
    fn a_partition_is_paused_apart_from_its_group() {
        let partition: PartitionId = ("t".into(), 0);
        let mut state = State::default();
        state.paused = true;
        state.partitions.entry(partition.clone()).or_default();
        assert!(!is_paused(&state, Some(&partition)));
        assert!(still_paused(&state, &switch(false)).is_empty());
        assert!(record(&state, &switch(true), Some(&partition), "ann").is_some());
        state.partitions.entry(partition).or_default().paused = true;
        assert_eq!(still_paused(&state, &switch(false)).to_string(), "t 0");
        assert!(still_paused(&state, &switch(true)).is_empty());
    }
}
