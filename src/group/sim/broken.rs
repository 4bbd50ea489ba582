//! The checks can fail: without any one of the rules marked † in the design, a seed shows what breaks.
//!
//! Each test names a seed that shows it, so that it is quick; where that seed does not (any more), it searches on.

use super::options::Scenario;
use super::run::Run;
use crate::group::rules::{Rule, Rules};

/// Seeds that are searched before a test gives up.
const SEARCH: u64 = 3000;

/// Finds a violation without the rule, where there is none with it.
fn breaks_without(rule: Rule, scenario: Scenario, known: u64) {
    for seed in std::iter::once(known).chain(0..SEARCH) {
        let run = Run::of(scenario, seed, Rules::all().without(rule), false);
        let Some(violation) = run.violation() else {
            continue;
        };
        println!("without {rule:?}, seed {seed} of {scenario:?}: {violation}");
        let whole = Run::of(scenario, seed, Rules::all(), false);
        assert_eq!(
            whole.violation(),
            None,
            "seed {seed} of {scenario:?} with all rules"
        );
        return;
    }
    panic!("{SEARCH} seeds of {scenario:?} do not show what {rule:?} is for");
}

macro_rules! rules {
    ($($test:ident: $rule:ident, $scenario:ident, $seed:literal;)*) => {
        $(
            #[test]
            fn $test() {
                breaks_without(Rule::$rule, Scenario::$scenario, $seed);
            }
        )*

        #[test]
        fn every_rule_has_its_test() {
            let tested = [$(Rule::$rule),*];
            for rule in Rule::ALL {
                assert!(tested.contains(&rule), "{rule:?}");
            }
        }
    };
}

rules! {
    a_lease_from_the_acknowledgement_breaks: ReadBack, Faults, 66;
    cancelling_at_the_lease_s_end_breaks: CancelMargin, Faults, 678;
    a_second_record_in_flight_breaks: OneInFlight, Faults, 0;
    a_clock_that_stands_still_in_a_suspended_machine_breaks: BootClock, Faults, 4;
    expiry_after_the_observer_s_session_breaks: ObservedSession, Faults, 30;
    counting_on_without_a_lease_breaks: RestartCounts, Outages, 0;
    starting_again_after_a_release_breaks: ReleaseFinal, Targets, 195;
    a_release_said_once_breaks: RepeatRelease, Targets, 13;
    a_leader_without_deputies_breaks: Deputies, Faults, 38;
    reading_on_behind_a_cut_breaks: OutOfRange, Faults, 5;
    cutting_at_the_snapshot_itself_breaks: SnapshotCut, Faults, 5;
    a_target_that_is_gone_breaks: LiveTarget, Faults, 0;
    an_id_that_comes_back_breaks: Gone, Faults, 38;
    a_free_partition_that_nobody_gets_breaks: Settle, Faults, 2;
    progress_that_is_replaced_breaks: MergeProgress, Faults, 184;
    a_reset_without_the_token_seen_breaks: CasReset, Faults, 1;
    a_reset_without_a_new_token_breaks: ResetToken, Faults, 1;
    a_pause_without_the_state_seen_breaks: CasPause, Faults, 2;
    progress_cut_from_below_breaks: TopOnly, Faults, 9;
}
