//! One seed's run from its beginning to its end.

use super::checks::Checks;
use super::dice::Dice;
use super::faults::Fault;
use super::options::{Options, Scenario};
use super::process::{Defects, Process};
use super::queue::Queue;
use super::world::{Checked, Event, Tally, Violation, World};
use crate::group::rules::Rules;

/// What a run came to.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) options: Options,
    pub(super) tally: Tally,
    pub(super) result: Checked,
    pub(super) story: Vec<String>,
}

impl Run {
    /// Runs a seed. With a story, the event log is kept.
    pub(super) fn of(scenario: Scenario, seed: u64, rules: Rules, with_story: bool) -> Self {
        let mut dice = Dice::new(seed);
        let options = Options::draw(scenario, seed, &mut dice);
        let mut world = World::new(options, rules, dice);
        world.story = with_story.then(Vec::new);
        let result = world.play();
        world.tally.events = world.queue.made();
        Self {
            options: world.options,
            tally: world.tally,
            result,
            story: world.story.unwrap_or_default(),
        }
    }

    /// The violation's text, if there is one.
    pub(super) fn violation(&self) -> Option<&str> {
        self.result
            .as_ref()
            .err()
            .map(|violation: &Violation| violation.0.as_str())
    }
}

impl World {
    pub(super) fn new(options: Options, rules: Rules, dice: Dice) -> Self {
        // Hashing after each record costs more than all else: one seed in eight does.
        let stride = if options.seed.is_multiple_of(8) { 1 } else { 7 };
        let mut world = Self {
            rules,
            dice,
            now: 0,
            queue: Queue::new(),
            log: super::log::Log::default(),
            checks: Checks::new(rules, stride, options.latest),
            processes: Vec::new(),
            sources: std::collections::BTreeMap::new(),
            handlers: std::collections::BTreeMap::new(),
            serial: 0,
            faulty: true,
            outage: false,
            lost_tail: None,
            tally: Tally::default(),
            story: None,
            options,
        };
        let names = ["alpha", "beta"];
        for (name, partitions) in names.into_iter().zip(world.options.partitions.clone()) {
            world.create_topic(name, partitions);
        }
        world
    }

    fn people(&mut self) {
        let random = self.options.scenario.is_random();
        for slot in 0..self.options.processes {
            let mut process = Process::down();
            process.instance = self.dice.per_mille(400).then(|| format!("pod-{slot}"));
            let idle_leader = random && self.dice.per_mille(60);
            process.defects = Defects {
                idle_leader,
                deaf: false,
            };
            self.processes.push(process);
            let delay = self.dice.between(0, self.options.ms(1500));
            self.at(delay, Event::StartProcess(slot));
        }
        if self.processes.iter().all(|process| process.defects.idle_leader) {
            self.processes[0].defects.idle_leader = false;
        }
    }

    fn play(&mut self) -> Checked {
        self.people();
        let calm = self.options.calm_at;
        match self.options.scenario {
            Scenario::Faults | Scenario::Targets | Scenario::Unclean => {
                self.at(self.options.ms(1500), Event::Fault(Fault::Any));
                if self.options.scenario == Scenario::Unclean {
                    self.at(self.options.ms(3000), Event::Fault(Fault::LostTail));
                }
                if self.options.scenario == Scenario::Targets {
                    self.at(self.options.ms(2000), Event::Fault(Fault::Shuffle));
                }
                self.at(0, Event::Fault(Fault::Noise));
                if let Some(at) = self.options.deaf_at {
                    self.at(at, Event::Fault(Fault::Deaf));
                }
            }
            Scenario::Planned => self.at(self.options.ms(2500), Event::Fault(Fault::Churn)),
            Scenario::Outages => self.at(self.options.ms(4000), Event::Fault(Fault::Outage)),
        }
        self.at(calm, Event::Fault(Fault::Calm));
        // Time for what the faults have left behind: late duplicates, pauses, expiries, back-off after removals.
        let settled = if self.options.scenario.is_random() {
            self.at(calm + self.options.ms(4500), Event::Fault(Fault::Resume));
            calm + self.options.ms(11_500)
        } else {
            calm + self.options.ms(4000)
        };
        self.run(settled)?;
        let base = self.base();
        self.run(settled + self.options.ms(2000))?;
        self.check_end(&base)
    }
}
