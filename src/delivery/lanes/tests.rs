//! Lanes as queues, and what stands still in them.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

fn lane(key: u64) -> LaneKey {
    LaneKey::Key(0, key)
}

proptest! {
    #[test]
    fn lanes_are_queues_from_which_any_may_leave(steps in prop::collection::vec((0u64..4, any::<bool>(), 0usize..8), 1..200)) {
        let mut lanes = Lanes::<()>::default();
        let mut model: BTreeMap<u64, VecDeque<EntryId>> = BTreeMap::new();
        for (offset, (key, offer, at)) in (0i64..).zip(steps) {
            let queue = model.entry(key).or_default();
            if offer {
                queue.push_back(lanes.offer(Entry::new(Claim(1), offset, lane(key), 0)));
            } else if !queue.is_empty() {
                let at = at % queue.len();
                let id = queue.remove(at).unwrap();
                let (_, head) = lanes.remove(id).unwrap();
                prop_assert_eq!(head, if at == 0 { queue.front().copied() } else { None });
            }
            for (key, queue) in &model {
                let mut seen = Vec::new();
                let mut next = lanes.head(&lane(*key));
                while let Some(id) = next {
                    seen.push(id);
                    next = lanes.behind(id);
                }
                prop_assert_eq!(&seen, &queue.iter().copied().collect::<Vec<_>>());
            }
            prop_assert_eq!(lanes.len(), model.values().map(VecDeque::len).sum::<usize>());
        }
    }
}

#[test]
fn a_record_without_a_key_is_always_a_head() {
    let mut lanes = Lanes::<()>::default();
    for offset in 0..3 {
        let id = lanes.offer(Entry::new(Claim(1), offset, LaneKey::Free(Claim(1), offset), 0));
        assert!(lanes.is_head(id));
    }
}

#[test]
fn a_lane_that_waits_for_a_report_has_no_head_that_may_run() {
    let mut lanes = Lanes::<()>::default();
    lanes.await_report(lane(1), Claim(1), 5);
    let id = lanes.offer(Entry::new(Claim(1), 6, lane(1), 0));
    assert!(!lanes.is_head(id));
    assert_eq!(lanes.reported(&lane(1), Claim(1), 4), None);
    assert_eq!(lanes.reported(&lane(1), Claim(1), 5), Some(id));
    assert!(lanes.is_head(id));
}

/// What stands still, counted by looking at all.
fn counted(lanes: &Lanes<()>, claim: Claim) -> Stalled {
    let entries = lanes
        .entries
        .iter()
        .flatten()
        .filter(|entry| entry.claim == claim);
    let stalls: Vec<Stall> = entries.map(Entry::stall).collect();
    Stalled {
        all: stalls.iter().filter(|stall| **stall != Stall::None).count(),
        bad: stalls.iter().filter(|stall| **stall == Stall::Bad).count(),
    }
}

#[test]
fn all_behind_a_held_head_stand_still_and_what_comes_later_too() {
    let mut lanes = Lanes::<()>::default();
    let mut ids: Vec<EntryId> = (0..3)
        .map(|offset| lanes.offer(Entry::new(Claim(1), offset, lane(1), 0)))
        .collect();
    lanes.offer(Entry::new(Claim(1), 3, lane(2), 0));
    let free = lanes.offer(Entry::new(Claim(1), 4, LaneKey::Free(Claim(1), 4), 0));
    lanes.set_stall(ids[0], Stall::Held);
    assert_eq!(lanes.stalled(Claim(1)), Stalled { all: 3, bad: 0 });
    lanes.set_stall(ids[0], Stall::Bad);
    lanes.set_stall(free, Stall::Held);
    // A replay behind them.
    ids.push(lanes.offer(Entry::new(Claim(2), 0, lane(1), 0)));
    assert_eq!(lanes.stalled(Claim(1)), Stalled { all: 4, bad: 3 });
    assert_eq!(lanes.stalled(Claim(2)), Stalled { all: 1, bad: 1 });
    lanes.remove(ids[0]).unwrap();
    assert_eq!(lanes.stalled(Claim(1)), Stalled { all: 3, bad: 2 });
    lanes.relax(&lane(1));
    lanes.remove(free).unwrap();
    assert_eq!(lanes.stalled(Claim(1)), Stalled::default());
    assert_eq!(lanes.stalled(Claim(2)), counted(&lanes, Claim(2)));
}

proptest! {
    #[test]
    fn what_stands_still_is_counted_as_by_looking_at_all(steps in prop::collection::vec((0u64..3, 0u8..6, 0usize..8), 1..200)) {
        let mut lanes = Lanes::<()>::default();
        let mut model: BTreeMap<u64, VecDeque<EntryId>> = BTreeMap::new();
        for (offset, (key, step, at)) in (0i64..).zip(steps) {
            let queue = model.entry(key).or_default();
            match (step, queue.front().copied()) {
                (0..=2, _) | (_, None) => {
                    let claim = Claim(1 + u32::from(step == 0));
                    queue.push_back(lanes.offer(Entry::new(claim, offset, lane(key), 0)));
                }
                (3, _) => drop(lanes.remove(queue.remove(at % queue.len()).unwrap())),
                (4, Some(head)) => lanes.set_stall(head, [Stall::Held, Stall::Bad][at % 2]),
                _ => lanes.relax(&lane(key)),
            }
            for claim in [Claim(1), Claim(2)] {
                prop_assert_eq!(lanes.stalled(claim), counted(&lanes, claim));
            }
            for queue in model.values() {
                let stalls: BTreeMap<Stall, ()> = queue.iter().map(|id| (lanes.get(*id).unwrap().stall(), ())).collect();
                prop_assert!(stalls.len() <= 1, "one lane, one answer");
            }
        }
    }
}
