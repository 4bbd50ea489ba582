use std::collections::BTreeSet;

use super::script::{FLOOR, Script, a, at_work, founded, founded_without, id_of, member, topics};
use crate::group::record::{Position, Record, Token};
use crate::group::rules::{Rule, Rules};
use crate::group::state::{Change, MAX_GONE, State};

#[test]
fn nothing_holds_before_the_log_is_founded() {
    let mut script = Script {
        rules: Rules::all(),
        state: State::default(),
        epoch: 0,
        offset: 0,
    };
    let join = script.join(1, &[("a", 1)]);
    assert_eq!(script.void(&join), "the log is not founded");
    let mark = Record::Mark { by: member(1) };
    assert_eq!(script.void(&mark), "the log is not founded");
}

#[test]
fn of_two_founders_the_first_wins() {
    let mut script = founded();
    let second = Record::Found { floor: 5, level: 1 };
    assert_eq!(script.void(&second), "the log was founded before");
    assert_eq!((script.state.floor, script.state.level), (FLOOR, 1));
}

#[test]
fn a_join_counts_as_the_first_report() {
    let mut script = founded();
    let at = script.at();
    let changes = script.joins(1, &[("a", 2)]);
    let info = &script.state.members[&member(1)];
    assert_eq!((info.joined, info.beat, info.n), (at, at, 0));
    assert_eq!(script.state.version, at);
    assert_eq!(
        changes,
        [
            Change::Joined(member(1)),
            Change::Beat(member(1)),
            Change::Grown {
                topic: "a".into(),
                from: 0,
                to: 2
            },
        ]
    );
    assert!(!script.partition(1).late);
}

#[test]
fn a_repeated_join_is_void() {
    let mut script = founded();
    let join = script.join(1, &[("a", 2)]);
    script.holds(&join);
    assert_eq!(script.void(&join), "the member lives already");
}

#[test]
fn a_removed_id_never_comes_back() {
    let mut script = at_work(None);
    let join = script.join(1, &[("a", 4)]);
    let expire = script.expire(1);
    script.holds(&expire);
    assert_eq!(script.void(&join), "the member is gone");
}

#[test]
fn without_the_gone_rule_a_doubled_join_brings_back_the_dead() {
    let mut script = at_work(Some(Rule::Gone));
    let join = script.join(1, &[("a", 4)]);
    let expire = script.expire(1);
    script.holds(&expire);
    script.holds(&join);
    assert_eq!(script.state.rank(&member(1)), Some(1));
}

#[test]
fn a_join_that_comes_too_late_is_void() {
    let mut script = founded();
    let late = script.join(1, &[]);
    script.offset += 2_001;
    assert_eq!(script.void(&late), "the join came too late");
    let mut script = founded();
    let just = script.join(1, &[]);
    script.offset += 2_000;
    script.holds(&just);
}

#[test]
fn the_last_2000_removed_ids_are_remembered() {
    let mut script = founded();
    for n in 0..2_001 {
        script.joins(n, &[]);
        let expire = script.expire(n);
        script.holds(&expire);
    }
    assert_eq!(script.state.gone.len(), MAX_GONE);
    assert_eq!(script.state.gone.front(), Some(&member(1)));
}

#[test]
fn a_member_that_does_not_speak_the_level_may_not_join() {
    let mut script = founded();
    script.state.level = 2;
    let join = script.join(1, &[("a", 1)]);
    assert_eq!(
        script.void(&join),
        "the member does not speak the group's record version"
    );
}

#[test]
fn the_leader_is_the_living_member_that_joined_first() {
    let mut script = founded();
    for m in [7, 3, 5] {
        script.joins(m, &[("a", 1)]);
    }
    assert_eq!(script.state.leader(), Some(&member(7)));
    assert_eq!(script.state.rank(&member(5)), Some(2));
    let expire = script.expire(7);
    script.holds(&expire);
    assert_eq!(script.state.leader(), Some(&member(3)));
    assert_eq!(script.state.rank(&member(5)), Some(1));
    assert_eq!(script.state.rank(&member(7)), None);
}

#[test]
fn an_expire_is_void_after_a_sign_of_life() {
    let mut script = at_work(None);
    let expire = script.expire(1);
    script.reports(1, vec![]);
    assert_eq!(script.void(&expire), "the member gave a sign of life since");
    let expire = script.expire(1);
    let changes = script.holds(&expire);
    assert_eq!(
        changes[0],
        Change::Expired {
            member: member(1),
            by: member(9)
        }
    );
    assert_eq!(script.void(&expire), "the member is gone");
}

#[test]
fn a_removal_frees_what_the_member_owned_and_clears_its_targets() {
    let mut script = at_work(None);
    script.assigns(&[(2, Some(1))]);
    let expire = script.expire(1);
    script.holds(&expire);
    assert_eq!(
        [0, 1, 2, 3].map(|p| script.owner(p)),
        [None, None, Some(2), Some(2)]
    );
    assert_eq!(
        [0, 1, 2, 3].map(|p| script.target(p)),
        [None, None, None, Some(2)]
    );
    assert!(script.token(0) > Token::NONE, "the token is kept");
    assert_eq!(script.state.owned_by(&member(1)).count(), 0);
    assert_eq!(script.state.targeted_at(&member(1)).count(), 0);
}

#[test]
fn what_was_on_the_way_goes_on_when_its_owner_is_removed() {
    let mut script = at_work(None);
    script.assigns(&[(0, Some(2))]);
    let at = script.at();
    let expire = script.expire(1);
    script.holds(&expire);
    assert_eq!(script.owner(0), Some(2));
    assert_eq!(script.token(0), Token::granted(FLOOR, at));
}

#[test]
fn without_settling_what_was_on_the_way_stays_free() {
    let mut script = at_work(Some(Rule::Settle));
    script.assigns(&[(0, Some(2))]);
    let expire = script.expire(1);
    script.holds(&expire);
    assert_eq!((script.owner(0), script.target(0)), (None, Some(2)));
}

#[test]
fn without_live_targets_the_dead_are_given_partitions() {
    let mut script = at_work(Some(Rule::LiveTarget));
    script.assigns(&[(2, Some(1))]);
    let expire = script.expire(1);
    script.holds(&expire);
    let release = script.release(2, 2);
    script.holds(&release);
    assert_eq!(script.owner(2), Some(1));
}

#[test]
fn what_a_named_member_had_is_kept_for_its_name() {
    let mut script = founded();
    script.joins_as(1, "worker-1", &[("a", 4)]);
    script.joins(2, &[("a", 4)]);
    script.assigns(&[(0, Some(1)), (1, Some(1)), (2, Some(2))]);
    // Partition 1 is on the way from 1 to 2, partition 2 from 2 to 1, partition 0 has no target any more.
    script.assigns(&[(0, None), (1, Some(2)), (2, Some(1))]);
    let expire = script.expire(1);
    script.holds(&expire);
    let kept = |p| script.partition(p).kept.as_deref();
    assert_eq!(
        [0, 1, 2, 3].map(kept),
        [Some("worker-1"), None, Some("worker-1"), None]
    );
    assert_eq!(script.owner(2), Some(2), "it never takes from the living");
    script.assigns(&[(0, Some(2))]);
    assert_eq!(script.partition(0).kept, None);
}

#[test]
fn an_assignment_holds_only_on_the_state_it_was_based_on() {
    let mut script = at_work(None);
    let assign = script.assign(&[(0, Some(2))]);
    script.joins(3, &[("a", 4)]);
    assert_eq!(script.void(&assign), "it is based on an older state of the group");
    let assign = script.assign(&[(0, Some(2))]);
    script.holds(&assign);
    assert_eq!(script.void(&assign), "it is based on an older state of the group");
}

#[test]
fn an_assignment_to_those_who_do_not_subscribe_is_void_each_on_its_own() {
    let mut script = at_work(None);
    script.joins(3, &[("b", 1)]);
    script.assigns(&[(0, Some(3)), (1, Some(8)), (2, Some(1)), (7, Some(1))]);
    assert_eq!(
        [0, 1, 2, 3].map(|p| script.target(p)),
        [Some(1), Some(1), Some(1), Some(2)]
    );
    let nothing = script.assign(&[(0, Some(3)), (1, Some(1))]);
    assert_eq!(script.void(&nothing), "it changes nothing");
}

#[test]
fn an_owner_goes_on_until_it_releases() {
    let mut script = at_work(None);
    let before = script.token(0);
    script.assigns(&[(0, Some(2))]);
    assert_eq!((script.owner(0), script.token(0)), (Some(1), before));
    let at = script.at();
    let release = script.release(1, 0);
    let changes = script.holds(&release);
    let token = Token::granted(FLOOR, at);
    assert_eq!(
        changes,
        [
            Change::Beat(member(1)),
            Change::Released {
                partition: a(0),
                member: member(1),
                token: before
            },
            Change::Granted {
                partition: a(0),
                member: member(2),
                token
            },
        ]
    );
    assert_eq!((script.owner(0), script.token(0)), (Some(2), token));
    assert_eq!(
        script.partition(0).progress.next,
        Some(100),
        "progress is handed over"
    );
}

#[test]
fn a_leave_removes_after_its_last_report() {
    let mut script = at_work(None);
    let entry = script.entry(0, crate::progress::Progress::at(150, 0));
    let leave = Record::Leave(script.report(1, vec![entry]));
    let changes = script.holds(&leave);
    assert!(changes.contains(&Change::Left(member(1))));
    assert_eq!(script.partition(0).progress.next, Some(150));
    assert_eq!(script.owner(0), None);
    assert_eq!(script.void(&leave), "the member is gone");
}

#[test]
fn who_subscribes_to_nothing_is_leaving_and_is_no_target() {
    let mut script = at_work(None);
    let leaving = Record::Subscribe {
        member: member(1),
        n: 50,
        topics: topics(&[]),
    };
    let before = script.state.version;
    script.holds(&leaving);
    assert!(script.state.members[&member(1)].leaving());
    assert_eq!(
        (script.owner(0), script.target(0)),
        (Some(1), None),
        "it goes on for now"
    );
    assert!(script.state.version > before, "so that an assignment is due");
    let back = script.assign(&[(0, Some(1))]);
    assert_eq!(script.void(&back), "it changes nothing");
    script.assigns(&[(0, Some(2))]);
    let release = Record::Report(crate::group::record::Report {
        n: 51,
        released: vec![(a(0), script.token(0))],
        ..script.report(1, vec![])
    });
    script.holds(&release);
    assert_eq!(script.owner(0), Some(2));
    assert_eq!(script.void(&leaving), "a repeat of an older report");
}

#[test]
fn topics_that_come_by_a_subscribe_are_late() {
    let mut script = at_work(None);
    let subscribe = Record::Subscribe {
        member: member(1),
        n: 50,
        topics: topics(&[("a", 5), ("b", 1)]),
    };
    script.holds(&subscribe);
    assert!(script.partition(4).late && script.state.partitions[&("b".into(), 0)].late);
    assert!(!script.partition(3).late);
    assert_eq!(script.target(0), Some(1), "what it still subscribes to stays");
    let b: BTreeSet<_> = script.state.subscribers("b").collect();
    assert_eq!(b, BTreeSet::from([&member(1)]));
}

#[test]
fn a_topic_grows_by_what_a_later_member_has_seen() {
    let mut script = at_work(None);
    script.joins(3, &[("a", 6)]);
    assert!(script.partition(5).late);
    assert_eq!(script.state.topics["a"].partitions, 6);
    script.joins(4, &[("a", 2)]);
    assert_eq!(script.state.topics["a"].partitions, 6);
}

#[test]
fn a_grow_holds_for_the_same_topic_and_more_partitions() {
    let mut script = at_work(None);
    let grow = |topic: &str, id, partitions| Record::Grow {
        topic: topic.into(),
        id,
        partitions,
        was: None,
    };
    assert_eq!(
        script.void(&grow("a", id_of("a"), 4)),
        "the topic has as many partitions already"
    );
    assert_eq!(
        script.void(&grow("a", id_of("b"), 9)),
        "it is about another topic of that name"
    );
    assert_eq!(
        script.void(&grow("b", id_of("b"), 9)),
        "nobody subscribes to the topic"
    );
    script.holds(&grow("a", id_of("a"), 6));
    assert!(script.partition(4).late && !script.partition(3).late);
}

#[test]
fn a_topic_made_anew_begins_anew_under_its_owners() {
    let mut script = at_work(None);
    let other = script.join(3, &[]);
    script.holds(&other);
    let new = id_of("x");
    let subscribe = Record::Subscribe {
        member: member(3),
        n: 1,
        topics: [(
            "a".into(),
            crate::group::record::TopicInfo {
                id: new,
                partitions: 9,
            },
        )]
        .into(),
    };
    script.holds(&subscribe);
    assert_eq!(
        script.state.topics["a"].id,
        id_of("a"),
        "another id alone changes nothing"
    );
    script.assigns(&[(1, Some(2))]);
    let at = script.at();
    let anew = Record::Grow {
        topic: "a".into(),
        id: new,
        partitions: 3,
        was: Some(id_of("a")),
    };
    script.holds(&anew);
    let token = Token::granted(FLOOR, at);
    for p in 0..3 {
        let state = script.partition(p);
        assert_eq!(
            (state.progress.next, state.late, state.token),
            (None, true, Some(token))
        );
    }
    assert_eq!(
        (script.owner(1), script.target(1)),
        (Some(1), Some(2)),
        "nothing changes hands"
    );
    assert!(!script.state.partitions.contains_key(&a(3)));
    assert_eq!(script.state.owned_by(&member(2)).count(), 1);
    assert_eq!(script.void(&anew), "it is about another topic of that name");
}

#[test]
fn a_level_is_raised_when_every_living_member_speaks_it() {
    let mut script = founded();
    script.joins(1, &[("a", 1)]);
    let level = |level| Record::Level {
        by: "anna".into(),
        level,
    };
    assert_eq!(
        script.void(&level(2)),
        "a living member does not speak that record version"
    );
    let expire = script.expire(1);
    script.holds(&expire);
    assert_eq!(script.holds(&level(2)), [Change::Level(2)]);
    assert_eq!(
        script.void(&level(2)),
        "the group's record version is as high already"
    );
}

#[test]
fn a_renew_holds_once_in_an_epoch() {
    let mut script = at_work(None);
    let before = script.token(0);
    let renew = Record::Renew { by: member(1) };
    assert_eq!(script.void(&renew), "the owners were renewed in this epoch");
    script.epoch = 4;
    let expire = script.expire(2);
    script.holds(&expire);
    let at = script.at();
    let free = script.token(3);
    assert_eq!(script.holds(&renew).len(), 2);
    assert_eq!(script.token(0), Token::granted(FLOOR, at));
    assert!(script.token(0) > before);
    assert_eq!(script.token(3), free, "what nobody owns keeps its token");
    assert_eq!(script.void(&renew), "the owners were renewed in this epoch");
}

#[test]
fn a_position_of_a_lost_piece_of_the_log_matches_nothing() {
    let mut script = at_work(None);
    let seen = script.state.members[&member(1)].beat;
    // The log was cut back, and another record took the place of that report.
    script.offset = seen.offset();
    script.epoch = 1;
    script.reports(1, vec![]);
    assert_eq!(
        script.state.members[&member(1)].beat,
        Position::new(1, seen.offset())
    );
    let expire = Record::Expire {
        member: member(1),
        seen,
        by: member(2),
        after_ms: 1,
    };
    assert_eq!(script.void(&expire), "the member gave a sign of life since");
}

#[test]
fn without_one_in_flight_a_repeat_is_a_sign_of_life() {
    let mut script = founded_without(Some(Rule::OneInFlight));
    script.joins(1, &[("a", 1)]);
    let report = Record::Report(script.report(1, vec![]));
    script.holds(&report);
    let expire = script.expire(1);
    script.holds(&report);
    assert_eq!(script.void(&expire), "the member gave a sign of life since");
}
