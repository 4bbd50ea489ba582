//! `--exec`: long-lived workers that get events on stdin and answer on stdout ([`super::protocol`]).
//!
//! One task owns the pool: who is up, who has room, who waits. A task per `slot` owns a process and what it holds.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::{Answer, Delivery, Outcome};
use crate::clock;
use slot::{Slot, ToSlot};

mod slot;

/// Messages taken from an inbox at once.
const BATCH: usize = 256;

/// Records that were in a worker's hands together with others when it died, and are to run alone, at most. The oldest offsets are
/// forgotten first: those would at worst run together once more.
const MAX_SUSPECTS: usize = 4096;

/// How workers are run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program and its arguments (`--exec`, split by [`super::process::split`]).
    pub command: Vec<String>,
    /// Processes (`--workers`).
    pub workers: NonZeroUsize,
    /// Events in the hands of one (`--worker-inflight`, 1).
    pub inflight: NonZeroUsize,
}

/// A record's place.
type Place = (Arc<str>, i32, i64);

/// The workers; clones share them. They are killed when the last clone is dropped.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    inbox: UnboundedSender<ToPool>,
    next_id: AtomicU64,
    up: watch::Receiver<usize>,
    ignored: Arc<AtomicU64>,
}

/// What the pool's task is told.
enum ToPool {
    Job(Box<Job>),
    Cancel(u64),
    Up(usize),
    /// The process of a slot has ended. `wrong`: it cannot be started, or has never answered; and why.
    Down {
        slot: usize,
        wrong: Option<String>,
    },
    /// So many of a slot's jobs have ended.
    Free {
        slot: usize,
        jobs: usize,
    },
    /// A job that the slot could not begin.
    Back {
        slot: usize,
        job: Box<Job>,
    },
    Suspects(Vec<Place>),
    Stop {
        within: Duration,
        done: oneshot::Sender<()>,
    },
}

/// A delivery on its way to a worker.
struct Job {
    id: u64,
    delivery: Delivery,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Job {
    fn end(self, outcome: Outcome, why: impl Into<String>) {
        // Nobody may be waiting any more.
        let _ = self.answer.send(Answer::without(outcome, why));
    }
}

/// Tells the pool if a run is dropped before its answer.
struct Abandon<'a> {
    id: u64,
    inbox: &'a UnboundedSender<ToPool>,
    armed: bool,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if self.armed {
            let _ = self.inbox.send(ToPool::Cancel(self.id));
        }
    }
}

impl Pool {
    /// Starts the workers; must be called within a runtime.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let (inbox, messages) = mpsc::unbounded_channel();
        let (up, is_up) = watch::channel(0);
        let ignored = Arc::new(AtomicU64::new(0));
        let owner = Owner::new(settings, inbox.clone(), up, &ignored);
        tokio::spawn(owner.run(messages));
        Self(Arc::new(Shared {
            inbox,
            next_id: AtomicU64::new(1),
            up: is_up,
            ignored,
        }))
    }

    /// Returns when a worker is running.
    pub async fn ready(&self) {
        // The sender ends with the pool only, and then nothing will be asked of it.
        let _ = self.0.up.clone().wait_for(|&up| up > 0).await;
    }

    /// Answers that were for no delivery in flight: unknown ids, and second answers.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.0.ignored.load(Ordering::Relaxed)
    }

    /// Gives one event to a worker. When it is cancelled, or not answered in time, the worker is killed and reaped before
    /// this returns. Dropping the future has the worker killed, too, but nobody sees when.
    pub async fn run(self, delivery: Delivery, cancel: impl Future<Output = ()> + Send) -> Answer {
        let (answer, mut asked) = oneshot::channel();
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let job = Box::new(Job {
            id,
            deadline: clock::now() + delivery.deadline,
            delivery,
            answer,
        });
        let stopped = || Answer::without(Outcome::Aborted, "the workers are stopped");
        if self.0.inbox.send(ToPool::Job(job)).is_err() {
            return stopped();
        }
        let mut abandon = Abandon {
            id,
            inbox: &self.0.inbox,
            armed: true,
        };
        let answer = tokio::select! {
            biased;
            answer = &mut asked => answer,
            () = cancel => {
                let _ = self.0.inbox.send(ToPool::Cancel(id));
                asked.await
            }
        };
        abandon.armed = false;
        answer.unwrap_or_else(|_| stopped())
    }

    /// Ends the workers: their stdin is closed at once, SIGTERM comes after half the time, SIGKILL at its end.
    pub async fn stop(&self, within: Duration) {
        let (done, stopped) = oneshot::channel();
        if self.0.inbox.send(ToPool::Stop { within, done }).is_ok() {
            let _ = stopped.await;
        }
    }
}

/// A slot as the pool sees it.
struct Seat {
    jobs: UnboundedSender<ToSlot>,
    up: bool,
    load: usize,
    /// What it holds is to run alone.
    alone: bool,
}

/// The pool's task.
struct Owner {
    inflight: usize,
    seats: Vec<Seat>,
    tasks: JoinSet<()>,
    waiting: VecDeque<Box<Job>>,
    /// Those that are to run alone.
    alone: VecDeque<Box<Job>>,
    suspects: BTreeSet<Place>,
    up: watch::Sender<usize>,
}

impl Owner {
    fn new(
        settings: Settings,
        inbox: UnboundedSender<ToPool>,
        up: watch::Sender<usize>,
        ignored: &Arc<AtomicU64>,
    ) -> Self {
        let settings = Arc::new(settings);
        let mut tasks = JoinSet::new();
        let seats = (0..settings.workers.get()).map(|number| {
            let (jobs, received) = mpsc::unbounded_channel();
            // Weak: the slots must not keep the pool alive.
            let slot = Slot::new(number, &settings, received, inbox.downgrade(), ignored);
            tasks.spawn(slot.run());
            Seat {
                jobs,
                up: false,
                load: 0,
                alone: false,
            }
        });
        Self {
            inflight: settings.inflight.get(),
            seats: seats.collect(),
            tasks,
            waiting: VecDeque::new(),
            alone: VecDeque::new(),
            suspects: BTreeSet::new(),
            up,
        }
    }

    /// Ends when it is stopped, or when nobody can ask it any more.
    async fn run(mut self, mut messages: UnboundedReceiver<ToPool>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let deadline = self
                .waiting
                .iter()
                .chain(&self.alone)
                .map(|job| job.deadline)
                .min();
            tokio::select! {
                received = messages.recv_many(&mut batch, BATCH) => if received == 0 {
                    return;
                },
                () = clock::sleep_until(deadline) => self.expire(clock::now()),
            }
            for message in batch.drain(..) {
                if let ToPool::Stop { within, done } = message {
                    self.stop(within).await;
                    let _ = done.send(());
                    return;
                }
                self.take(message);
            }
            self.assign();
        }
    }

    fn take(&mut self, message: ToPool) {
        match message {
            ToPool::Job(job) => self.enqueue(job),
            ToPool::Back { slot, job } => {
                self.free(slot, 1);
                self.enqueue(job);
            }
            ToPool::Free { slot, jobs } => self.free(slot, jobs),
            ToPool::Up(slot) => self.set_up(slot, true),
            ToPool::Down { slot, wrong } => {
                self.set_up(slot, false);
                // Nobody else could take them, and whoever waits has to know that the target is wrong.
                if let Some(why) = wrong
                    && !self.seats.iter().any(|seat| seat.up)
                {
                    for job in self.waiting.drain(..).chain(self.alone.drain(..)) {
                        job.end(Outcome::Hold, why.clone());
                    }
                }
            }
            ToPool::Cancel(id) => self.cancel(id),
            ToPool::Suspects(places) => {
                self.suspects.extend(places);
                while self.suspects.len() > MAX_SUSPECTS {
                    self.suspects.pop_first();
                }
            }
            ToPool::Stop { .. } => {}
        }
    }

    fn enqueue(&mut self, mut job: Box<Job>) {
        if !self.suspects.is_empty() {
            let delivery = &job.delivery;
            let place = (Arc::clone(&delivery.topic), delivery.partition, delivery.offset);
            if self.suspects.remove(&place) {
                job.delivery.redelivered = true;
                self.alone.push_back(job);
                return;
            }
        }
        self.waiting.push_back(job);
    }

    fn free(&mut self, slot: usize, jobs: usize) {
        if let Some(seat) = self.seats.get_mut(slot) {
            seat.load = seat.load.saturating_sub(jobs);
            seat.alone &= seat.load > 0;
        }
    }

    fn set_up(&mut self, slot: usize, up: bool) {
        if let Some(seat) = self.seats.get_mut(slot) {
            seat.up = up;
        }
        let count = self.seats.iter().filter(|seat| seat.up).count();
        self.up.send_replace(count);
    }

    fn cancel(&mut self, id: u64) {
        for queue in [&mut self.waiting, &mut self.alone] {
            if let Some(at) = queue.iter().position(|job| job.id == id) {
                if let Some(job) = queue.remove(at) {
                    job.end(Outcome::Aborted, "cancelled");
                }
                return;
            }
        }
        // Cancelling is rare, so nobody keeps account of who holds what.
        for seat in &self.seats {
            let _ = seat.jobs.send(ToSlot::Cancel(id));
        }
    }

    /// Ends those whose time has passed before a worker was free.
    fn expire(&mut self, now: Instant) {
        let any_up = self.seats.iter().any(|seat| seat.up);
        for queue in [&mut self.waiting, &mut self.alone] {
            for job in std::mem::take(queue) {
                if job.deadline > now {
                    queue.push_back(job);
                } else if any_up {
                    job.end(Outcome::Aborted, "no worker was free in time");
                } else {
                    job.end(Outcome::Hold, "no worker is running");
                }
            }
        }
    }

    /// Gives out what can be given out: what is to run alone first, the rest to whoever holds least.
    fn assign(&mut self) {
        while !self.alone.is_empty() {
            let Some(at) = self.seats.iter().position(|seat| seat.up && seat.load == 0) else {
                break;
            };
            self.give(at, true);
        }
        // The seat that gets empty first takes nothing new while one waits that is to run alone.
        let reserved = if self.alone.is_empty() {
            None
        } else {
            self.least_loaded(None)
        };
        while !self.waiting.is_empty() {
            let Some(at) = self.least_loaded(reserved) else {
                break;
            };
            if self.seats[at].load >= self.inflight {
                break;
            }
            self.give(at, false);
        }
    }

    /// Of those that are up and hold nothing that is to run alone, but for the one left out.
    fn least_loaded(&self, but: Option<usize>) -> Option<usize> {
        let open = |at: &usize| self.seats[*at].up && !self.seats[*at].alone && Some(*at) != but;
        let open = (0..self.seats.len()).filter(open);
        open.min_by_key(|at| self.seats[*at].load)
    }

    fn give(&mut self, at: usize, alone: bool) {
        let queue = if alone { &mut self.alone } else { &mut self.waiting };
        let Some(job) = queue.pop_front() else { return };
        // Whoever asked has gone.
        if job.answer.is_closed() {
            return;
        }
        let seat = &mut self.seats[at];
        seat.load += 1;
        seat.alone = alone;
        // A slot lives as long as the pool.
        let _ = seat.jobs.send(ToSlot::Job(job));
    }

    async fn stop(&mut self, within: Duration) {
        for job in self.waiting.drain(..).chain(self.alone.drain(..)) {
            job.end(Outcome::Aborted, "the workers are being stopped");
        }
        let now = clock::now();
        for seat in &self.seats {
            let _ = seat.jobs.send(ToSlot::Stop {
                terminate: now + within / 2,
                kill: now + within,
            });
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests;
