//! Many seeds of each scenario. The first ones in every `cargo test`, ten thousand in CI.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::options::Scenario;
use super::run::Run;
use super::world::Tally;
use crate::group::rules::Rules;

/// Seeds of a plain `cargo test`, all scenarios together: without optimisation one takes 0.15 s.
const SEEDS: u64 = 250;

/// A variable of the environment: the door for tests only.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no settings; these two variables are for them alone"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn scenario(name: &str) -> Scenario {
    let named = |scenario: &Scenario| format!("{scenario:?}").eq_ignore_ascii_case(name);
    Scenario::ALL
        .into_iter()
        .find(named)
        .expect("faults, planned, outages, targets or unclean")
}

/// Prints a run as one would want to read it: first what makes it again, then what happened.
fn print(run: &Run) {
    println!(
        "seed {} of {:?}: {:?}",
        run.options.seed, run.options.scenario, run.options
    );
    for line in &run.story {
        println!("{line}");
    }
    println!("{:?}", run.tally);
    println!(
        "seed {}: {}",
        run.options.seed,
        run.violation().unwrap_or("all is well")
    );
}

/// Runs the first seeds of a scenario, on all cores.
fn all_is_well(scenario: Scenario) {
    let seeds = variable("BARNABAS_SIM_SEEDS").map_or(SEEDS, |text| text.parse().expect("a number of seeds"));
    let seeds = seeds / Scenario::ALL.len() as u64;
    let next = AtomicU64::new(0);
    let work = || {
        let mut sum = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return (sum, None);
            }
            let run = Run::of(scenario, seed, Rules::all(), false);
            if run.violation().is_some() {
                next.store(seeds, Ordering::Relaxed);
                return (sum, Some(seed));
            }
            sum.add(&run.tally);
        }
    };
    let (mut sum, mut failed) = (Tally::default(), None);
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (tally, seed) = worker.join().expect("no panic within a run");
            sum.add(&tally);
            failed = failed.or(seed);
        }
    });
    println!("{scenario:?}: {sum:?}");
    if let Some(seed) = failed {
        let run = Run::of(scenario, seed, Rules::all(), true);
        print(&run);
        panic!("seed {seed} of {scenario:?}: {:?}", run.violation());
    }
}

#[test]
fn random_faults_break_nothing() {
    all_is_well(Scenario::Faults);
}

#[test]
fn planned_joins_and_leaves_repeat_nothing_and_expire_nobody() {
    all_is_well(Scenario::Planned);
}

#[test]
fn outages_of_the_log_expire_nobody() {
    all_is_well(Scenario::Outages);
}

#[test]
fn any_assignment_is_safe() {
    all_is_well(Scenario::Targets);
}

#[test]
fn an_unclean_election_breaks_no_more_than_one_lease() {
    all_is_well(Scenario::Unclean);
}

/// `BARNABAS_SIM_ONE=faults:4711` runs one seed and prints its event log.
#[test]
fn one_seed() {
    let Some(which) = variable("BARNABAS_SIM_ONE") else {
        return;
    };
    let (name, seed) = which.split_once(':').expect("SCENARIO:SEED");
    let run = Run::of(scenario(name), seed.parse().expect("a seed"), Rules::all(), true);
    print(&run);
    assert_eq!(run.violation(), None);
}
