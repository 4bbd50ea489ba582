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
