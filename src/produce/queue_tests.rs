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
            // A producer that is not known (any more) may begin anywhere.
            _ => {
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
    /// Given up, and perhaps written.
    lost: Vec<u64>,
    /// Given up without having been written.
    unwritten: Vec<u64>,
    /// Whether batches are given up as well.
    giving_up: bool,
    events: Vec<String>,
}

impl Run {
    fn new(seed: u64, now: Instant, giving_up: bool) -> Self {
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
            lost: Vec::new(),
            unwritten: Vec::new(),
            giving_up,
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
                Reply::Gap => Verdict::Gap { at },
                // The answer makes no sense.
                Reply::Written | Reply::Duplicate if fate == 3 && self.giving_up => Verdict::Lost,
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
                Verdict::Lost => self.lost.extend(&item.payload),
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

    fn expire(&mut self) {
        let limit = Duration::from_millis(self.random.gen_range(0..400));
        for item in self.queue.expire(self.now, limit) {
            self.events
                .push(format!("expire {}: {}", item.ordinal, item.maybe_written));
            if item.maybe_written {
                self.lost.extend(item.payload);
            } else {
                self.unwritten.extend(item.payload);
            }
        }
    }
}

fn simulate(seed: u64, giving_up: bool) -> Result<(), String> {
    let start = crate::clock::now();
    let mut run = Run::new(seed, start, giving_up);
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
            3 if giving_up && step < 400 && run.random.gen_bool(0.1) => run.expire(),
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
    let sorted = |mut records: Vec<u64>| {
        records.sort_unstable();
        records
    };
    if !run.broker.log.is_sorted_by(|a, b| a < b) {
        return fail(&format!("doubled or reordered: {:?}", run.broker.log));
    }
    let written = |record: &u64| run.broker.log.binary_search(record).is_ok();
    if !run.acknowledged.iter().all(written) {
        return fail("not everything acknowledged is written");
    }
    if run.unwritten.iter().chain(&run.refused).any(written) {
        return fail("something that was told as not written is");
    }
    let fates = [&run.acknowledged, &run.lost, &run.unwritten, &run.refused];
    if sorted(fates.into_iter().flatten().copied().collect()) != (0..pushed).collect::<Vec<_>>() {
        return fail("a record has no fate, or two");
    }
    let poison: Vec<u64> = (0..pushed).filter(|record| record % 97 == 96).collect();
    if !giving_up && (run.refused != poison || run.lost.len() + run.unwritten.len() > 0) {
        return fail("refused is not what is refused");
    }
    Ok(())
}

#[test]
fn nothing_is_lost_doubled_or_reordered_whatever_fails() {
    for seed in 0..1_500 {
        for giving_up in [false, true] {
            if let Err(failure) = simulate(seed, giving_up) {
                panic!("giving up: {giving_up}, {failure}");
            }
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
    for _ in 0..8 {
        queue.push((), 1, now);
    }
    assert!(queue.send(now).is_some());
    assert!(
        queue.send(now).is_none(),
        "before the broker knows the producer id"
    );
    queue.settle(0, Verdict::Done);
    let mut sent = 0;
    while queue.send(now).is_some() {
        sent += 1;
    }
    assert_eq!(sent, MAX_IN_FLIGHT);
}

/// Two batches of which the first was acknowledged and the answers to the others were lost.
fn two_unknown(now: Instant) -> Queue<()> {
    let mut queue = Queue::default();
    queue.identify(Identity { id: 1, epoch: 0 });
    for age in [0, 0, 100] {
        queue.push((), 1, now + Duration::from_secs(age));
    }
    queue.send(now);
    queue.settle(0, Verdict::Done);
    queue.send(now);
    queue.send(now);
    for ordinal in [1, 2] {
        let at = now;
        queue.settle(ordinal, Verdict::Again { at, unknown: true });
    }
    queue
}

#[test]
fn what_is_behind_a_batch_given_up_keeps_its_number_as_it_may_have_been_written_too() {
    let now = crate::clock::now();
    let mut queue = two_unknown(now);
    let later = now + Duration::from_secs(120);
    assert_eq!(queue.expire(later, Duration::from_secs(120)).len(), 1);
    assert!(!queue.needs_identity());
    let (identity, item) = queue.send(later).unwrap();
    assert_eq!((identity.id, item.sequence), (1, Some(2)));
}

#[test]
fn a_gap_at_the_oldest_proves_that_nothing_is_written_and_costs_the_producer_id() {
    let now = crate::clock::now();
    let mut queue = two_unknown(now);
    let later = now + Duration::from_secs(120);
    queue.expire(later, Duration::from_secs(120));
    queue.send(later);
    let at = later + Duration::from_secs(1);
    queue.settle(2, Verdict::Gap { at });
    assert!(queue.needs_identity());
    assert!(
        !queue.identify(Identity { id: 1, epoch: 0 }),
        "not the same again"
    );
    assert!(queue.identify(Identity { id: 2, epoch: 0 }));
    assert!(queue.send(later).is_none(), "not at once: it may go on for ever");
    let (identity, item) = queue.send(at).unwrap();
    assert_eq!((identity.id, item.sequence), (2, Some(0)));
}
