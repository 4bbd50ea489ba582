//! What holds of every log, however it came about.

use proptest::prelude::*;

use super::script::{FLOOR, Script, a, founded, id_of, member, topics};
use crate::group::record::{Entry, MemberId, Position, Record, Report, Token};
use crate::group::rules::Rules;
use crate::group::snapshot::{Collector, parts};
use crate::group::state::State;
use crate::progress::Progress;

/// A record in the making: what it names is looked up in the state, often as it is, sometimes as it was.
#[derive(Debug, Clone)]
struct Draft {
    kind: u8,
    member: u64,
    partition: i32,
    offset: i64,
    fresh: bool,
    skip: i64,
    epoch: bool,
}

prop_compose! {
    fn draft()(
        kind in 0..20_u8,
        member in 1..6_u64,
        partition in 0..5_i32,
        offset in 0..40_i64,
        fresh in proptest::bool::weighted(0.85),
        skip in 0..40_i64,
        epoch in proptest::bool::weighted(0.02),
    ) -> Draft {
        Draft { kind, member, partition, offset, fresh, skip, epoch }
    }
}

fn record(draft: &Draft, script: &Script) -> Record {
    let state = &script.state;
    let Draft {
        member: m,
        partition,
        offset,
        fresh,
        ..
    } = *draft;
    let id = member(m);
    let info = state.members.get(&id);
    let token = |partition| {
        let token = state
            .partitions
            .get(&a(partition))
            .map_or(Token::NONE, |it| it.seen());
        if fresh {
            token
        } else {
            Token::granted(FLOOR, Position::new(0, offset))
        }
    };
    let beat = info.map_or(Position::ZERO, |info| info.beat);
    let (by, why) = (String::from("anna"), String::from("test"));
    let mut progress = Progress::at(offset / 2, 0);
    progress.finish(offset);
    let entry = |partition| Entry {
        partition: a(partition),
        token: token(partition),
        progress: progress.clone(),
        gap: None,
    };
    let report = Report {
        member: id.clone(),
        n: info.map_or(0, |info| info.n) + u64::from(fresh),
        entries: vec![entry(partition), entry((partition + 1) % 5)],
        released: if draft.kind.is_multiple_of(2) {
            vec![(a(partition), token(partition))]
        } else {
            Vec::new()
        },
        mark: None,
    };
    let basis = if fresh {
        state.version
    } else {
        Position::new(0, offset)
    };
    match draft.kind {
        0..3 => {
            let of: &[_] = if m == 4 {
                &[("b", 2)]
            } else {
                &[("a", 3), ("b", 2)]
            };
            let Record::Join {
                host,
                topics,
                session_ms,
                speaks,
                read,
                ..
            } = script.join(m, of)
            else {
                unreachable!("it is a join");
            };
            Record::Join {
                // New ids, or a group that is soon extinct.
                member: if fresh {
                    MemberId::random(m + 10 * script.offset.unsigned_abs())
                } else {
                    id
                },
                instance: (m % 2 == 0).then(|| format!("worker-{m}")),
                host,
                topics,
                session_ms,
                speaks,
                read,
            }
        }
        3..8 => {
            let living: Vec<_> = state.members.keys().collect();
            let pick = |shift: usize| {
                let at = usize::try_from(offset).unwrap_or(0) + shift;
                (!at.is_multiple_of(7) && !living.is_empty()).then(|| living[at % living.len()].clone())
            };
            Record::Assign {
                by: id,
                basis,
                changes: (0..5)
                    .map(|p| (a(p), pick(usize::try_from(p).unwrap_or(0))))
                    .take(2 + usize::try_from(m).unwrap_or(0))
                    .collect(),
            }
        }
        8..11 => {
            let owner = state
                .partitions
                .get(&a(partition))
                .and_then(|it| it.owner.clone());
            let owner = owner.unwrap_or(id);
            let n = state.members.get(&owner).map_or(0, |info| info.n) + u64::from(fresh);
            Record::Report(Report {
                member: owner,
                n,
                ..report
            })
        }
        11 => Record::Report(report),
        12 => match state.leader() {
            Some(leader) if m > 3 => Record::Leave(Report {
                member: leader.clone(),
                ..report
            }),
            _ => Record::Leave(report),
        },
        13 => match state.members.iter().next_back() {
            Some((last, info)) if fresh => Record::Expire {
                member: last.clone(),
                seen: info.beat,
                by: id,
                after_ms: 1,
            },
            _ => Record::Expire {
                member: id,
                seen: beat,
                by: member(9),
                after_ms: 1,
            },
        },
        14 => Record::Reset {
            by,
            why,
            partitions: vec![(a(partition), (offset > 5).then_some(offset), token(partition))],
        },
        15 => Record::Skip {
            by,
            why,
            partition: a(partition),
            offset,
            seen: token(partition),
        },
        16 => {
            let of = (m > 2).then(|| a(partition));
            let it = of.as_ref().and_then(|of| state.partitions.get(of));
            let (paused, seen) = it.map_or((state.paused, state.pause_seen), |it| (it.paused, it.pause_seen));
            let (partition, seen) = (of, if fresh { seen } else { Position::ZERO });
            if paused {
                Record::Resume {
                    by,
                    why,
                    partition,
                    seen,
                }
            } else {
                Record::Pause {
                    by,
                    why,
                    partition,
                    seen,
                }
            }
        }
        17 => match state.leader() {
            Some(leader) => Record::Subscribe {
                member: leader.clone(),
                n: state.members[leader].n + u64::from(fresh),
                topics: topics(if m > 3 { &[] } else { &[("a", 5), ("c", 1)] }),
            },
            None => Record::Mark { by: id },
        },
        18 => match state.topics.get("a") {
            Some(known) if m > 4 => Record::Grow {
                topic: "a".into(),
                id: if known.id == id_of("a") {
                    id_of("x")
                } else {
                    id_of("a")
                },
                partitions: 1 + partition,
                was: Some(known.id),
            },
            known => Record::Grow {
                topic: "a".into(),
                id: known.map_or(id_of("a"), |known| known.id),
                partitions: 1 + partition,
                was: None,
            },
        },
        _ if m > 4 => Record::Renew { by: id },
        _ => Record::Mark { by: id },
    }
}

fn check(state: &State, before: &State) -> Result<(), TestCaseError> {
    for (id, partition) in &state.partitions {
        for member in partition.owner.iter().chain(&partition.target) {
            prop_assert!(state.members.contains_key(member), "{:?} is dead", member);
        }
        if let Some(target) = &partition.target {
            prop_assert!(state.subscribes(target, &id.0));
            prop_assert!(partition.owner.is_some(), "{:?} is free and has a target", id);
        }
        prop_assert!(partition.owner.is_none() || partition.token.is_some());
        if let Some(old) = before.partitions.get(id) {
            prop_assert!(partition.token >= old.token, "the token of {:?} went back", id);
            if partition.owner != old.owner && partition.owner.is_some() {
                prop_assert!(
                    partition.token > old.token,
                    "{:?} changed hands under one token",
                    id
                );
            }
            if partition.token == old.token {
                prop_assert!(partition.progress.next >= old.progress.next);
            }
        }
    }
    for (name, topic) in &state.topics {
        let partitions = state.partitions.keys().filter(|(topic, _)| topic == name);
        prop_assert_eq!(partitions.count(), usize::try_from(topic.partitions).unwrap_or(0));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_log_keeps_the_rules(drafts in proptest::collection::vec(draft(), 0..120)) {
        let mut script = founded();
        let mut log = Vec::new();
        for draft in &drafts {
            let before = script.state.clone();
            script.epoch += i32::from(draft.epoch);
            script.offset += if draft.skip == 0 { 30 } else { 0 };
            let record = record(draft, &script);
            let at = script.at();
            let applied = script.apply(&record);
            log.push((at, record));
            if applied.held {
                prop_assert_eq!(applied.void, None);
                check(&script.state, &before)?;
            } else {
                prop_assert!(applied.void.is_some() && applied.changes.is_empty());
                prop_assert_eq!(&script.state, &before, "a void record changed something");
            }
        }
        // Read again, decoded from its JSON, the log adds up to the same. So does the state itself, index and all.
        let mut again = founded().state;
        for (at, record) in &log {
            again.apply(Rules::all(), *at, &Record::decode(&record.encode()).expect("it can be read"));
        }
        prop_assert_eq!(&again, &script.state);
        prop_assert_eq!(again.hash(), script.state.hash());
        let mut copy = State::decode(&script.state.encode()).expect("it was written just now");
        copy.mark = script.state.mark;
        prop_assert_eq!(&copy, &script.state);
    }

    #[test]
    fn from_a_snapshot_on_the_state_is_the_same(
        drafts in proptest::collection::vec(draft(), 60..120),
        marks in proptest::collection::btree_set(0..60_usize, 1..4),
    ) {
        let mut script = founded();
        let mut collector = Collector::new(Rules::all());
        let mut late: Option<State> = None;
        let mut taken = 0;
        for (index, draft) in drafts.iter().enumerate() {
            let mut records = vec![record(draft, &script)];
            if marks.contains(&index) {
                script.offset += 100;
                records.push(Record::Mark { by: member(1) });
            }
            while let Some(record) = records.pop() {
                let at = script.at();
                script.apply(&record);
                if let Some(late) = &mut late {
                    late.apply(script.rules, at, &record);
                } else {
                    prop_assert_eq!(collector.read(at, &record), None);
                    for part in parts(&script.state, at) {
                        let at = script.at();
                        script.apply(&part);
                        late = late.or(collector.read(at, &part));
                        taken += 1;
                    }
                }
            }
        }
        prop_assert_eq!(taken, 1);
        prop_assert_eq!(late.as_ref().map(State::hash), Some(script.state.hash()));
        prop_assert_eq!(late, Some(script.state));
    }
}
