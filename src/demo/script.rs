//! The play: what is done when, and what has to be seen before it goes on. Pure: what is seen and the time go in, what is
//! to be done comes out.

use super::book::{Millis, PoisonSeen};

/// Consumers to begin with.
pub const CONSUMERS: usize = 3;
/// The consumer that is killed.
pub const VICTIM: usize = 1;
/// The one that joins in the end.
pub const LATECOMER: usize = CONSUMERS;
/// What a step may take at most: a slow machine gets there, and one that never does is told.
pub const LIMIT: Millis = 90_000;

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The consumers come.
    Start,
    /// All is well.
    Steady,
    /// An event that the handler cannot process.
    Poison,
    /// The handler answers 503 to everything.
    Outage,
    /// A consumer is killed.
    Kill,
    /// Another one joins.
    Join,
    /// The handler is mended, and the dead letters are replayed.
    Replay,
    /// Nothing more is published, and the rest is worked off.
    Finish,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Start,
        Self::Steady,
        Self::Poison,
        Self::Outage,
        Self::Kill,
        Self::Join,
        Self::Replay,
        Self::Finish,
    ];

    /// A word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Steady => "steady",
            Self::Poison => "poison",
            Self::Outage => "outage",
            Self::Kill => "kill -9",
            Self::Join => "join",
            Self::Replay => "replay",
            Self::Finish => "finish",
        }
    }

    /// What happens in it.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Start => "three consumers join and share the partitions",
            Self::Steady => "all is well: each order's events are handled in order, many orders at once",
            Self::Poison => {
                "a payment in XTS, for which the handler has no exchange rate: it fails each time"
            }
            Self::Outage => "the handler answers 503 to everything, and publishing goes on",
            Self::Kill => "kill -9 of c-2: nobody says goodbye",
            Self::Join => "c-4 joins: partitions move to it while events are handled",
            Self::Replay => "the handler learns the rate of XTS; the dead letter is replayed",
            Self::Finish => "publishing ends; what is left is worked off",
        }
    }

    fn next(self) -> Option<Self> {
        let at = Self::ALL.iter().position(|step| *step == self)?;
        Self::ALL.get(at + 1).copied()
    }
}

/// How long things last at least, so that they can be watched. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// A step.
    pub step: Millis,
    /// The outage, from when all consumers have noticed it.
    pub outage: Millis,
}

impl Pace {
    /// For people: about a minute in all.
    pub const READING: Self = Self {
        step: 9_000,
        outage: 6_000,
    };
    /// For CI: about 15 seconds in all.
    pub const FAST: Self = Self {
        step: 1_200,
        outage: 1_000,
    };
}

/// A consumer, as it is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Its process runs.
    pub alive: bool,
    /// The group has it.
    pub member: bool,
    /// Partitions of the orders that it owns.
    pub owns: usize,
    /// Its breaker is open.
    pub breaker: bool,
    /// Events that it had processed.
    pub processed: u64,
}

/// What is seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// By index.
    pub consumers: Vec<Consumer>,
    /// Partitions of the orders.
    pub partitions: usize,
    /// Those of them that a living consumer owns, and that are to stay with it.
    pub settled: usize,
    /// Records that the group is behind, in all its partitions; none while it is not known.
    pub lag: Option<u64>,
    /// Events that the brokers have.
    pub published: u64,
    /// Events that were processed.
    pub finished: u64,
    /// When the oldest event that is neither processed nor set aside was published.
    pub oldest_unfinished: Option<Millis>,
    /// Events that were handed to the producer and are not acknowledged yet.
    pub unacknowledged: u64,
    /// The poisoned event, once it was published.
    pub poison: Option<PoisonSeen>,
    /// Events with dead letters.
    pub letters: u64,
    /// Letters that were replayed, and processed then.
    pub replayed: u64,
    /// Times that an event was processed which had been before.
    pub again: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start this consumer.
    Start(usize),
    /// Publish at the usual rate, or nothing any more.
    Publish(bool),
    /// Publish the poisoned event.
    Poison,
    /// Let the handler answer 503 to everything, or as it should.
    Outage(bool),
    /// Kill this consumer.
    Kill(usize),
    /// Teach the handler what it could not process.
    Mend,
    /// Replay the dead letters.
    Replay,
    /// Ask the consumers to end, and add up.
    End,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    Same,
    /// It is over, with this result for people.
    Over(String),
    /// It was not over in time; this was waited for.
    Late(String),
}

/// The script at work.
#[derive(Debug)]
pub struct Script {
    pace: Pace,
    step: Step,
    began: Millis,
    /// What was seen when the step began.
    before: Seen,
    phase: Phase,
    actions: Vec<Action>,
}

/// Where in a step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing special was seen yet.
    First,
    /// What is to be noticed was noticed at this time.
    Noticed(Millis),
    /// What was broken is whole again since this time; that it was noticed took so long.
    Back(Millis, Millis),
}

impl Script {
    /// One that begins now.
    #[must_use]
    pub fn new(pace: Pace, now: Millis) -> Self {
        Self {
            pace,
            step: Step::Start,
            began: now,
            before: Seen::default(),
            phase: Phase::First,
            actions: (0..CONSUMERS).map(Action::Start).collect(),
        }
    }

    /// The step that is played.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// When it began.
    #[must_use]
    pub fn began(&self) -> Millis {
        self.began
    }

    /// What is to be done now.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Looks at what is seen. When a step is over, [`Self::go_on`] begins the next one.
    pub fn look(&mut self, seen: &Seen, now: Millis) -> Turn {
        let paced = now.saturating_sub(self.began) >= self.pace.step
            || matches!(self.step, Step::Start | Step::Finish);
        let turn = match self.step {
            Step::Start => started(seen),
            Step::Steady => self.steady(seen),
            Step::Poison => poison(seen),
            Step::Outage => self.outage(seen, now),
            Step::Kill => self.kill(seen, now),
            Step::Join => self.join(seen, now),
            Step::Replay => replay(seen),
            Step::Finish => finish(seen),
        };
        match turn {
            Ok(result) if paced => Turn::Over(result),
            Ok(_) => Turn::Same,
            Err(waiting) if now.saturating_sub(self.began) >= LIMIT => Turn::Late(waiting),
            Err(_) => Turn::Same,
        }
    }

    /// Begins the next step; tells whether there is one.
    pub fn go_on(&mut self, seen: &Seen, now: Millis) -> bool {
        let Some(next) = self.step.next() else {
            self.actions.push(Action::End);
            return false;
        };
        self.step = next;
        self.began = now;
        self.before = seen.clone();
        self.phase = Phase::First;
        match next {
            Step::Start => {}
            Step::Steady => self.actions.push(Action::Publish(true)),
            Step::Poison => self.actions.push(Action::Poison),
            Step::Outage => self.actions.push(Action::Outage(true)),
            Step::Kill => self.actions.push(Action::Kill(VICTIM)),
            Step::Join => self.actions.push(Action::Start(LATECOMER)),
            Step::Replay => self.actions.extend([Action::Mend, Action::Replay]),
            Step::Finish => self.actions.push(Action::Publish(false)),
        }
        true
    }

    fn steady(&self, seen: &Seen) -> Result<String, String> {
        let idle: Vec<String> = alive(seen)
            .filter(|(_, consumer)| consumer.processed == 0)
            .map(|(at, _)| name(at))
            .collect();
        if !idle.is_empty() {
            return Err(format!("an event to be processed by {}", idle.join(", ")));
        }
        let shares: Vec<String> = alive(seen)
            .map(|(at, consumer)| format!("{} {}", name(at), consumer.processed))
            .collect();
        let events = seen.finished - self.before.finished.min(seen.finished);
        Ok(format!("{events} events processed ({})", shares.join(", ")))
    }

    fn outage(&mut self, seen: &Seen, now: Millis) -> Result<String, String> {
        if let Phase::First = self.phase {
            let closed: Vec<String> = alive(seen)
                .filter(|(_, consumer)| !consumer.breaker)
                .map(|(at, _)| name(at))
                .collect();
            if !closed.is_empty() {
                return Err(format!("the breaker of {} to open", closed.join(", ")));
            }
            self.phase = Phase::Noticed(now);
        }
        if let Phase::Noticed(at) = self.phase {
            if now.saturating_sub(at) < self.pace.outage {
                return Err("the outage to last".to_owned());
            }
            self.actions.push(Action::Outage(false));
            self.phase = Phase::Back(now, at - self.began);
        }
        let Phase::Back(back, noticed) = self.phase else {
            return Err("the handler to be back".to_owned());
        };
        let open: Vec<String> = alive(seen)
            .filter(|(_, consumer)| consumer.breaker)
            .map(|(at, _)| name(at))
            .collect();
        if !open.is_empty() {
            return Err(format!("the breaker of {} to close", open.join(", ")));
        }
        if seen.oldest_unfinished.is_some_and(|oldest| oldest < back) {
            return Err("the backlog of the outage to be worked off".to_owned());
        }
        let set_aside = seen.letters - self.before.letters.min(seen.letters);
        Ok(format!(
            "breakers open after {}, handler down for {}; {set_aside} events set aside, backlog worked off",
            seconds(noticed),
            seconds(back - self.began)
        ))
    }

    fn kill(&mut self, seen: &Seen, now: Millis) -> Result<String, String> {
        let victim = seen.consumers.get(VICTIM).copied().unwrap_or_default();
        if let Phase::First = self.phase {
            if victim.alive || victim.member {
                return Err(format!("the group to notice that {} is dead", name(VICTIM)));
            }
            if seen.settled < seen.partitions {
                return Err(format!("the partitions of {} to be taken over", name(VICTIM)));
            }
            self.phase = Phase::Noticed(now);
        }
        let Phase::Noticed(taken) = self.phase else {
            return Err("the take-over".to_owned());
        };
        if seen.oldest_unfinished.is_some_and(|oldest| oldest < taken) {
            return Err("what was published before the take-over to be worked off".to_owned());
        }
        let owned = self
            .before
            .consumers
            .get(VICTIM)
            .map_or(0, |consumer| consumer.owns);
        let again = seen.again - self.before.again.min(seen.again);
        Ok(format!(
            "{owned} partitions taken over after {}; {again} events came twice, not yet reported as done",
            seconds(taken - self.began)
        ))
    }

    fn join(&mut self, seen: &Seen, now: Millis) -> Result<String, String> {
        let newcomer = seen.consumers.get(LATECOMER).copied().unwrap_or_default();
        if let Phase::First = self.phase {
            if newcomer.owns == 0 || seen.settled < seen.partitions {
                return Err(format!("{} to get its partitions", name(LATECOMER)));
            }
            self.phase = Phase::Noticed(now);
        }
        let Phase::Noticed(moved) = self.phase else {
            return Err("the hand-over".to_owned());
        };
        if newcomer.processed == 0 {
            return Err(format!("an event to be processed by {}", name(LATECOMER)));
        }
        if seen.oldest_unfinished.is_some_and(|oldest| oldest < moved) {
            return Err("what was published before the hand-over to be worked off".to_owned());
        }
        let again = seen.again - self.before.again.min(seen.again);
        Ok(format!(
            "{} partitions handed over to {} within {}; {again} events came twice",
            newcomer.owns,
            name(LATECOMER),
            seconds(moved - self.began)
        ))
    }
}

fn started(seen: &Seen) -> Result<String, String> {
    let missing: Vec<String> = (0..CONSUMERS)
        .filter(|at| seen.consumers.get(*at).is_none_or(|consumer| consumer.owns == 0))
        .map(name)
        .collect();
    if !missing.is_empty() {
        return Err(format!("{} to own partitions", missing.join(", ")));
    }
    if seen.settled < seen.partitions {
        return Err("every partition to have its owner".to_owned());
    }
    Ok(format!(
        "{CONSUMERS} consumers share {} partitions",
        seen.partitions
    ))
}

fn poison(seen: &Seen) -> Result<String, String> {
    let Some(poison) = seen.poison.filter(|poison| poison.attempts > 0) else {
        return Err("the handler to fail".to_owned());
    };
    if !poison.letter {
        return Err("the dead letter".to_owned());
    }
    if poison.others == 0 {
        return Err("events of other orders to be processed while it failed".to_owned());
    }
    if poison.later == 0 {
        return Err("the order to go on behind its dead letter".to_owned());
    }
    Ok(format!(
        "set aside after {} attempts; {} others meanwhile, {} of its partition",
        poison.attempts, poison.others, poison.beside
    ))
}

fn replay(seen: &Seen) -> Result<String, String> {
    if seen.letters == 0 || seen.replayed < seen.letters {
        return Err("the replayed event to be processed".to_owned());
    }
    Ok(format!("{} dead letter replayed and processed", seen.replayed))
}

fn finish(seen: &Seen) -> Result<String, String> {
    if seen.unacknowledged > 0 {
        return Err("the last events to be acknowledged".to_owned());
    }
    if seen.oldest_unfinished.is_some() {
        return Err("the last events to be processed".to_owned());
    }
    if seen.lag != Some(0) {
        return Err("the group to commit its last positions".to_owned());
    }
    Ok("everything is processed and committed, lag 0".to_owned())
}

fn alive(seen: &Seen) -> impl Iterator<Item = (usize, &Consumer)> {
    let consumers = seen.consumers.iter().enumerate();
    consumers.filter(|(_, consumer)| consumer.alive)
}

/// What a consumer is called.
#[must_use]
pub fn name(at: usize) -> String {
    format!("c-{}", at + 1)
}

/// Milliseconds as seconds for people: `2.4 s`.
#[must_use]
pub fn seconds(millis: Millis) -> String {
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

#[cfg(test)]
mod tests;
