//! A simulation of the queue against a model of Kafka's sequence checks: seeds × faults × invariants.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// What Kafka keeps of a producer: the last five batches, and what was written.
#[derive(Default)]
struct Broker {
    last: Option<(i64, VecDeque<(i32, i32)>)>,
    log: Vec<u64>,
}

#[derive(Debug, PartialEq)]
enum Reply {
    Written,
    Duplicate,
    Gap,
}

impl Broker {
    fn produce(&mut self, id: Identity, sequence: i32, records: &[u64]) -> Reply {
        let end = after(sequence, u32::try_from(records.len()).unwrap() - 1);
        match &mut self.last {
            Some((known, batches)) if *known == id.id => {
                if batches.contains(&(sequence, end)) {
                    return Reply::Duplicate;
                }
                let last = batches.back().unwrap().1;
                if after(last, 1) != sequence {
                    return Reply::Gap;
                }
                batches.push_back((sequence, end));
                if batches.len() > MAX_IN_FLIGHT {
                    batches.pop_front();
                }
            }
            // A producer that is not known (any more) may begin anywhere in Kafka ≥ 3; a new one begins at 0.
            _ => {
                if sequence != 0 {
                    return Reply::Gap;
                }
                self.last = Some((id.id, VecDeque::from([(sequence, end)])));
            }
        }
        self.log.extend_from_slice(records);
        Reply::Written
    }
}

struct Run {
    queue: Queue<Vec<u64>>,
    broker: Broker,
    random: StdRng,
    now: Instant,
    identities: i64,
    /// Requests on the way to the broker, in order.
    wire: VecDeque<(u64, Identity, i32, Vec<u64>)>,
    /// Verdicts on the way back, in any order.
    back: Vec<(u64, Verdict)>,
    acknowledged: Vec<u64>,
    refused: Vec<u64>,
    events: Vec<String>,
}

impl Run {
    fn new(seed: u64, now: Instant) -> Self {
        Run {
            queue: Queue::default(),
            broker: Broker::default(),
            random: StdRng::seed_from_u64(seed),
            now,
            identities: 0,
            wire: VecDeque::new(),
            back: Vec::new(),
            acknowledged: Vec::new(),
            refused: Vec::new(),
            events: Vec::new(),
        }
    }

    fn send(&mut self) {
        if self.queue.needs_identity() {
            self.identities += 1;
            self.queue.identify(Identity {
                id: self.identities,
                epoch: 0,
            });
        }
        if let Some((id, item)) = self.queue.send(self.now) {
            let entry = (item.ordinal, id, item.sequence.unwrap(), item.payload.clone());
            self.events.push(format!("send {entry:?}"));
            self.wire.push_back(entry);
        }
    }

    /// The broker takes the next request: answers, loses the answer, fails before writing, or refuses for good.
    fn serve(&mut self, faults: bool) {
        let Some((ordinal, id, sequence, records)) = self.wire.pop_front() else {
            return;
        };
        let fate = if faults { self.random.gen_range(0..10) } else { 9 };
        let at = self.now + Duration::from_millis(self.random.gen_range(0..50));
        let poison = records.iter().any(|record| record % 97 == 96);
        let verdict = match fate {
            // Not the leader: nothing is written.
            0 => Verdict::Again { at, unknown: false },
            // The connection breaks before or after writing: all behind it on the wire is lost as well.
            1 | 2 => {
                if fate == 2 && !poison {
                    self.broker.produce(id, sequence, &records);
                }
                for (ordinal, ..) in self.wire.drain(..) {
                    self.back.push((ordinal, Verdict::Again { at, unknown: true }));
                }
                Verdict::Again { at, unknown: true }
            }
            _ if poison => Verdict::Refused,
            _ => match self.broker.produce(id, sequence, &records) {
                Reply::Gap => Verdict::Gap,
                Reply::Written | Reply::Duplicate => Verdict::Done,
            },
        };
        self.events.push(format!("serve {ordinal}: {verdict:?}"));
        self.back.push((ordinal, verdict));
    }

    fn answer(&mut self) {
        if self.back.is_empty() {
            return;
        }
        let (ordinal, verdict) = self.back.remove(0);
        self.events.push(format!("settle {ordinal}: {verdict:?}"));
        if let Settled::Left(item) = self.queue.settle(ordinal, verdict) {
            match verdict {
                Verdict::Done => self.acknowledged.extend(&item.payload),
                _ if item.records == 1 => self.refused.extend(&item.payload),
                _ => {
                    let (left, right) = item.payload.split_at(item.payload.len() / 2);
                    let middle = item.ordinal + left.len() as u64;
                    let count = |part: &[u64]| u32::try_from(part.len()).unwrap();
                    self.queue
                        .put_back(left.to_vec(), count(left), item.ordinal, item.since);
                    self.queue
                        .put_back(right.to_vec(), count(right), middle, item.since);
                }
            }
        }
    }
}

fn simulate(seed: u64) -> Result<(), String> {
    let start = crate::clock::now();
    let mut run = Run::new(seed, start);
    let mut pushed = 0u64;
    for step in 0..600 {
        run.now += Duration::from_millis(run.random.gen_range(0..20));
        match run.random.gen_range(0..4) {
            0 if step < 400 => {
                let records: Vec<u64> = (pushed..pushed + run.random.gen_range(1..9)).collect();
                pushed += records.len() as u64;
                let count = u32::try_from(records.len()).unwrap();
                run.queue.push(records, count, run.now);
            }
            1 => run.serve(step < 400),
            2 => run.answer(),
            _ => run.send(),
        }
    }
    // No more faults: everything has to end.
    for _ in 0..20_000 {
        run.now += Duration::from_millis(10);
        run.send();
        run.serve(false);
        run.answer();
        if run.queue.is_empty() && run.wire.is_empty() && run.back.is_empty() {
            break;
        }
    }
    let fail = |what: &str| Err(format!("seed {seed}: {what}\n{}", run.events.join("\n")));
    if !run.queue.is_empty() {
        return fail("does not end");
    }
    let expected: Vec<u64> = (0..pushed).filter(|record| record % 97 != 96).collect();
    if run.broker.log != expected {
        return fail(&format!("the log has {:?} of {pushed}", run.broker.log));
    }
    let mut acknowledged = run.acknowledged.clone();
    acknowledged.sort_unstable();
    if acknowledged != expected {
        return fail("acknowledged is not what was written");
    }
    if run.refused != (0..pushed).filter(|record| record % 97 == 96).collect::<Vec<_>>() {
        return fail("refused is not what is refused");
    }
    Ok(())
}

#[test]
fn nothing_is_lost_doubled_or_reordered_whatever_fails() {
    for seed in 0..3_000 {
        if let Err(failure) = simulate(seed) {
            panic!("{failure}");
        }
    }
}

#[test]
fn numbers_wrap_from_the_highest_to_zero() {
    assert_eq!(after(i32::MAX, 1), 0);
    assert_eq!(after(i32::MAX - 1, 3), 1);
    assert_eq!(after(0, 5), 5);
}

#[test]
fn five_batches_are_in_flight_at_most() {
    let now = crate::clock::now();
    let mut queue = Queue::default();
    queue.identify(Identity { id: 1, epoch: 0 });
    for _ in 0..7 {
        queue.push((), 1, now);
    }
    let mut sent = 0;
    while queue.send(now).is_some() {
        sent += 1;
    }
    assert_eq!(sent, MAX_IN_FLIGHT);
}

#[test]
fn what_may_have_been_written_and_is_given_up_costs_the_producer_id() {
    let now = crate::clock::now();
    let mut queue = Queue::default();
    queue.identify(Identity { id: 1, epoch: 0 });
    queue.push((), 1, now);
    queue.push((), 1, now + Duration::from_secs(100));
    queue.send(now);
    queue.settle(
        0,
        Verdict::Again {
            at: now,
            unknown: true,
        },
    );
    let later = now + Duration::from_secs(120);
    assert_eq!(queue.expire(later, Duration::from_secs(120)).len(), 1);
    assert!(queue.needs_identity(), "the other one starts under a new id");
}
