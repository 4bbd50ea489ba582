use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const PARTITIONS: usize = 6;

/// A step, and what came of it or was waited for.
type Told = (Step, String);

/// A group that does what it promises, after random delays.
struct World {
    random: StdRng,
    seen: Seen,
    out: bool,
    publishing: bool,
    /// What happens when.
    due: Vec<(Millis, Event)>,
    /// What is never to happen.
    broken: Option<Event>,
    done: Vec<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Joined,
    Owned(usize),
    Opened(usize),
    Closed(usize),
    Expired,
    TakenOver,
    Fail,
    Letter,
    Later,
    Replayed,
    Finished,
}

impl World {
    fn new(seed: u64, broken: Option<Event>) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            seen: Seen {
                partitions: PARTITIONS,
                lag: Some(0),
                ..Seen::default()
            },
            out: false,
            publishing: false,
            due: Vec::new(),
            broken,
            done: Vec::new(),
        }
    }

    fn soon(&mut self, now: Millis, event: Event) {
        let at = now + self.random.gen_range(50..4_000);
        if self.broken != Some(event) {
            self.due.push((at, event));
        }
    }

    fn act(&mut self, action: Action, now: Millis) {
        self.done.push(action);
        match action {
            Action::Start(at) => {
                assert_eq!(at, self.seen.consumers.len(), "they are started in order");
                self.seen.consumers.push(Consumer {
                    alive: true,
                    ..Consumer::default()
                });
                self.soon(now, Event::Joined);
                self.soon(now, Event::Owned(at));
            }
            Action::Publish(go) => {
                self.publishing = go;
                if !go {
                    self.soon(now, Event::Finished);
                }
            }
            Action::Poison => self.soon(now, Event::Fail),
            Action::Outage(out) => {
                self.out = out;
                for at in 0..self.seen.consumers.len() {
                    self.soon(now, if out { Event::Opened(at) } else { Event::Closed(at) });
                }
            }
            Action::Kill(at) => {
                self.seen.consumers[at].alive = false;
                self.seen.settled = PARTITIONS - self.seen.consumers[at].owns;
                self.soon(now, Event::Expired);
            }
            Action::Mend => {}
            Action::Replay => self.soon(now, Event::Replayed),
            Action::End => {}
        }
    }

    fn happen(&mut self, event: Event, now: Millis) {
        let poison = self.seen.poison.get_or_insert_default();
        match event {
            Event::Joined => {}
            Event::Owned(at) => {
                self.seen.consumers[at].member = true;
                self.seen.consumers[at].owns = 2;
                self.seen.settled = PARTITIONS;
            }
            Event::Opened(at) => self.seen.consumers[at].breaker = true,
            Event::Closed(at) => self.seen.consumers[at].breaker = false,
            Event::Expired => {
                self.seen.consumers[VICTIM].member = false;
                self.soon(now, Event::TakenOver);
            }
            Event::TakenOver => {
                self.seen.settled = PARTITIONS;
                self.seen.again += 3;
            }
            Event::Fail => {
                poison.attempts = 3;
                poison.others = 20;
                self.soon(now, Event::Letter);
            }
            Event::Letter => {
                poison.letter = true;
                self.seen.letters = 1;
                self.soon(now, Event::Later);
            }
            Event::Later => poison.later = 1,
            Event::Replayed => self.seen.replayed = 1,
            Event::Finished => self.seen.oldest_unfinished = None,
        }
    }

    fn pass(&mut self, now: Millis) {
        let (happen, later) = std::mem::take(&mut self.due)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.due = later;
        let happen: Vec<(Millis, Event)> = happen;
        for (_, event) in happen {
            self.happen(event, now);
        }
        let whole =
            !self.out && self.seen.settled == PARTITIONS && !self.seen.consumers.iter().any(|c| c.breaker);
        if self.publishing {
            self.seen.published += 5;
            self.seen.oldest_unfinished.get_or_insert(now);
            if whole {
                self.seen.finished = self.seen.published;
                self.seen.oldest_unfinished = Some(now);
                for consumer in self
                    .seen
                    .consumers
                    .iter_mut()
                    .filter(|consumer| consumer.alive && consumer.member)
                {
                    consumer.processed += 1;
                }
            }
        }
    }

    /// Plays to the end, or to what was waited for in vain.
    fn play(&mut self, pace: Pace) -> Result<(Vec<Told>, Millis), Told> {
        let mut script = Script::new(pace, 0);
        let mut over = Vec::new();
        for now in (0..).step_by(50) {
            self.pass(now);
            match script.look(&self.seen, now) {
                Turn::Same => {}
                Turn::Late(waiting) => return Err((script.step(), waiting)),
                Turn::Over(result) => {
                    over.push((script.step(), result));
                    if !script.go_on(&self.seen, now) {
                        assert_eq!(script.actions(), [Action::End]);
                        return Ok((over, now));
                    }
                }
            }
            for action in script.actions() {
                self.act(action, now);
            }
        }
        unreachable!("each step has its limit")
    }
}

#[test]
fn every_step_is_played_in_order_whatever_takes_how_long() {
    for seed in 0..200 {
        let mut world = World::new(seed, None);
        let (over, took) = world
            .play(Pace::FAST)
            .unwrap_or_else(|failed| panic!("seed {seed}: {failed:?}"));
        let steps: Vec<Step> = over.iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, Step::ALL, "seed {seed}");
        assert!(took < 120_000, "seed {seed}: {took}");
        let expected = [
            Action::Start(0),
            Action::Start(1),
            Action::Start(2),
            Action::Publish(true),
            Action::Poison,
            Action::Outage(true),
            Action::Outage(false),
            Action::Kill(VICTIM),
            Action::Start(LATECOMER),
            Action::Mend,
            Action::Replay,
            Action::Publish(false),
        ];
        assert_eq!(world.done, expected, "seed {seed}");
    }
}

#[test]
fn what_never_happens_is_told_with_its_step() {
    for (broken, step, waiting) in [
        (Event::Owned(2), Step::Start, "c-3 to own partitions"),
        (Event::Letter, Step::Poison, "the dead letter"),
        (
            Event::Later,
            Step::Poison,
            "the order to go on behind its dead letter",
        ),
        (Event::Opened(0), Step::Outage, "the breaker of c-1 to open"),
        (Event::Closed(2), Step::Outage, "the breaker of c-3 to close"),
        (Event::Expired, Step::Kill, "the group to notice that c-2 is dead"),
        (
            Event::TakenOver,
            Step::Kill,
            "the partitions of c-2 to be taken over",
        ),
        (Event::Owned(3), Step::Join, "c-4 to get its partitions"),
        (
            Event::Replayed,
            Step::Replay,
            "the replayed event to be processed",
        ),
        (Event::Finished, Step::Finish, "the last events to be processed"),
    ] {
        let failed = World::new(1, Some(broken)).play(Pace::FAST).unwrap_err();
        assert_eq!(failed, (step, waiting.to_owned()), "{broken:?}");
    }
}

#[test]
fn for_people_each_step_lasts_long_enough_to_be_read() {
    let mut world = World::new(3, None);
    let (_, took) = world.play(Pace::READING).unwrap();
    let steps = u64::try_from(Step::ALL.len() - 2).unwrap();
    assert!(took >= steps * Pace::READING.step, "{took}");
}

#[test]
fn results_say_what_was_seen() {
    let (over, _) = World::new(5, None).play(Pace::FAST).unwrap();
    let of = |step: Step| over.iter().find(|(each, _)| *each == step).unwrap().1.as_str();
    assert_eq!(of(Step::Start), "3 consumers share 6 partitions");
    assert!(of(Step::Poison).starts_with("set aside after 3 attempts; 20 others meanwhile"));
    assert!(
        of(Step::Outage).contains("0 events set aside"),
        "{}",
        of(Step::Outage)
    );
    assert!(
        of(Step::Kill).starts_with("2 partitions taken over after "),
        "{}",
        of(Step::Kill)
    );
    assert!(
        of(Step::Join).ends_with("; 0 events came twice"),
        "{}",
        of(Step::Join)
    );
}

#[test]
fn seconds_have_one_place() {
    assert_eq!(
        (seconds(2_449).as_str(), seconds(50).as_str()),
        ("2.4 s", "0.0 s")
    );
}
