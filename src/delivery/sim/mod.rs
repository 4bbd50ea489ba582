//! The simulation of delivery: the real cores in a world of faults. Each run is drawn from a seed; a broken promise
//! prints the scenario, the seed and all that happened.
//!
//! `DELIVERY_SEEDS=10000 cargo test --lib delivery::sim` (with an optimised profile) runs as many in all.

mod attempts;
mod faults;
mod log;
mod process;
mod scenario;
mod world;

use scenario::{Config, SCENARIOS};
use world::World;

use super::rules::{Rule, Rules};

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    starts: u64,
    letters: usize,
    opened: u32,
    /// Runs that ended by a mended handler.
    mended: u32,
}

fn run(scenario: &'static str, seed: u64, rules: Rules, trace: bool) -> (Result<Sums, String>, Vec<String>) {
    let mut world = World::new(Config::new(scenario, seed), rules, seed, trace);
    world.run();
    let sums = Sums {
        starts: world.starts,
        letters: world.letters.len(),
        opened: world.opened,
        mended: u32::from(world.now > scenario::MENDED),
    };
    (
        world.broken.map_or(Ok(sums), Err),
        world.trace.unwrap_or_default(),
    )
}

#[expect(clippy::disallowed_methods, reason = "what to run, of a test")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn seeds(default: u64) -> u64 {
    variable("DELIVERY_SEEDS")
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// `seeds` in all, over the scenarios.
#[test]
fn every_promise_holds_under_every_fault() {
    let each = seeds(500).div_ceil(SCENARIOS.len() as u64);
    let mut broken = Vec::new();
    for scenario in SCENARIOS {
        let mut sums = Sums::default();
        let mut failed = 0;
        for seed in 0..each {
            match run(scenario, seed, Rules::all(), false).0 {
                Ok(sum) => {
                    sums.starts += sum.starts;
                    sums.letters += sum.letters;
                    sums.opened += sum.opened;
                    sums.mended += sum.mended;
                }
                Err(what) => {
                    failed += 1;
                    if failed == 1 {
                        broken.push((*scenario, seed, what));
                    }
                }
            }
        }
        println!("{scenario:<10} {each} seeds, {failed} broken: {sums:?}");
    }
    for (scenario, seed, what) in &broken {
        println!("DELIVERY_RUN={scenario}:{seed} broke a promise {what}");
    }
    assert!(broken.is_empty());
}

/// `DELIVERY_RUN=scenario:seed` prints all that happens in a run.
#[test]
fn one_run_is_told() {
    let run_of = variable("DELIVERY_RUN").unwrap_or_else(|| "all:7".into());
    let (name, seed) = run_of.split_once(':').unwrap();
    let scenario = SCENARIOS.iter().find(|scenario| **scenario == name).unwrap();
    let seed = seed.parse().unwrap();
    println!("{:#?}", Config::new(scenario, seed));
    let (result, trace) = run(scenario, seed, Rules::all(), true);
    println!("{}", trace.join("\n"));
    result.unwrap();
}

/// Where the lack of a rule shows soonest.
const fn shows(rule: Rule) -> &'static str {
    match rule {
        Rule::FinishAlways | Rule::Evict => "one bad",
        Rule::Gone => "compact",
        Rule::Share | Rule::Fresh => "hang",
        Rule::Clamp => "skew",
        Rule::Proof | Rule::Rotate => "rotate",
        Rule::GiveUp => "silent",
        Rule::Tight | Rule::Full => "ranges",
        Rule::Stalled => "patient",
        Rule::Grace => "timeout",
        Rule::SkipWaits => "skip",
        Rule::Expire | Rule::Pipeline => "retention",
        Rule::DrainEnds => "letters",
        Rule::Rebuild | Rule::OnlyFinished | Rule::Lower | Rule::IdWaits => "dedup",
        Rule::Acknowledged => "plain",
        Rule::Seek | Rule::Maybe => "crash",
    }
}

#[test]
fn without_a_rule_a_promise_is_broken() {
    let most = seeds(1_000).max(500);
    let mut missing = Vec::new();
    for rule in Rule::ALL {
        let rules = Rules::all().without(rule);
        let scenario = shows(rule);
        let hit = (0..most).find_map(|seed| Some((seed, run(scenario, seed, rules, false).0.err()?)));
        match hit {
            Some((seed, broken)) => {
                let broken: String = broken.chars().take(120).collect();
                println!("without {rule:?}: {scenario}, seed {seed}: {broken}");
            }
            None => missing.push(rule),
        }
    }
    assert!(missing.is_empty(), "no promise was broken without {missing:?}");
}

#[test]
fn equal_seeds_give_equal_runs() {
    let (_, first) = run("all", 7, Rules::all(), true);
    let (_, second) = run("all", 7, Rules::all(), true);
    assert!(!first.is_empty() && first == second);
}
