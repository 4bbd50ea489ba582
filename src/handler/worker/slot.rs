//! One worker: its process, what it holds, and what becomes of that when it ends.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender};
use tokio::sync::oneshot;

use super::super::process::{self, Group, Tail};
use super::super::protocol::{self, Line, Lines};
use super::super::{Answer, Outcome, bounded};
use super::{BATCH, Job, Place, Settings, ToPool};
use crate::clock;

/// The first and the longest wait before a worker is started again; doubled in between.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// A worker that has run for so long begins with the first wait again.
const RESTART_RESET: Duration = Duration::from_secs(60);

/// What is left in the pipes of a process that has ended is read for so long at most.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// For a process to end by itself, or to say why, after it has closed a pipe.
const CLOSED_LIMIT: Duration = Duration::from_millis(500);

/// Bytes read at once.
const READ: usize = 64 << 10;

/// What a slot is told.
pub(super) enum ToSlot {
    Job(Box<Job>),
    Cancel(u64),
    Stop { terminate: Instant, kill: Instant },
}

/// A place for a worker: when one ends, another is started.
pub(super) struct Slot {
    number: usize,
    settings: Arc<Settings>,
    jobs: UnboundedReceiver<ToSlot>,
    pool: WeakUnboundedSender<ToPool>,
    ignored: Arc<AtomicU64>,
}

/// Why a worker has ended, or has to.
enum Cause {
    /// Its own doing.
    Died(String),
    /// Something that it holds was not answered in time.
    TimedOut,
    /// Something that it holds is not wanted any more.
    Cancelled,
    /// We stop.
    Stopped,
}

impl Slot {
    pub(super) fn new(
        number: usize,
        settings: &Arc<Settings>,
        jobs: UnboundedReceiver<ToSlot>,
        pool: WeakUnboundedSender<ToPool>,
        ignored: &Arc<AtomicU64>,
    ) -> Self {
        Self {
            number,
            settings: Arc::clone(settings),
            jobs,
            pool,
            ignored: Arc::clone(ignored),
        }
    }

    /// Until it is stopped, or the pool is gone.
    pub(super) async fn run(mut self) {
        let mut wait = RESTART.0;
        loop {
            let started = clock::now();
            let wrong = match process::spawn(&self.settings.command, |_| {}) {
                Ok(process) => {
                    self.tell(ToPool::Up(self.number));
                    let Some(end) = Life::new(&mut self, process).run().await else {
                        return;
                    };
                    end
                }
                Err(error) => {
                    let program = self.settings.command.first().map_or("", String::as_str);
                    Some(format!("cannot start `{program}`: {error}"))
                }
            };
            if let Some(why) = &wrong {
                tracing::warn!(worker = self.number, "{why}");
            }
            let slot = self.number;
            self.tell(ToPool::Down { slot, wrong });
            let now = clock::now();
            if now.saturating_duration_since(started) >= RESTART_RESET {
                wait = RESTART.0;
            }
            if !self.rest(now + wait).await {
                return;
            }
            wait = (wait * 2).min(RESTART.1);
        }
    }

    /// Waits, and gives back what the pool sent before it knew. False if there is to be no next worker.
    async fn rest(&mut self, until: Instant) -> bool {
        loop {
            tokio::select! {
                () = clock::sleep_until(Some(until)) => return true,
                told = self.jobs.recv() => match told {
                    None | Some(ToSlot::Stop { .. }) => return false,
                    Some(ToSlot::Job(job)) => self.tell(ToPool::Back { slot: self.number, job }),
                    Some(ToSlot::Cancel(_)) => {}
                },
            }
        }
    }

    fn tell(&self, message: ToPool) {
        if let Some(pool) = self.pool.upgrade() {
            let _ = pool.send(message);
        }
    }
}

/// A delivery in a worker's hands.
struct Held {
    answer: oneshot::Sender<Answer>,
    deadline: Instant,
    place: Place,
    /// Where its line ends, in bytes since the process began.
    end: u64,
}

/// The life of one process.
struct Life<'a> {
    slot: &'a mut Slot,
    child: Child,
    group: Group,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    held: BTreeMap<u64, Held>,
    /// Lines to be written, and how much of them was.
    out: Vec<u8>,
    out_at: usize,
    /// Bytes written since the process began.
    written: u64,
    lines: Lines,
    tail: Tail,
    /// It has answered something.
    answered: bool,
    /// Nothing that is held is due before.
    check: Option<Instant>,
    /// It has closed its stdin: it has to end by then.
    closed: Option<Instant>,
    /// We stop: SIGTERM, SIGKILL.
    stop: Option<(Instant, Instant)>,
}

impl<'a> Life<'a> {
    fn new(slot: &'a mut Slot, process: process::Process) -> Self {
        Self {
            slot,
            child: process.child,
            group: process.group,
            stdin: Some(process.stdin),
            stdout: process.stdout,
            stderr: Some(process.stderr),
            held: BTreeMap::new(),
            out: Vec::new(),
            out_at: 0,
            written: 0,
            lines: Lines::default(),
            tail: Tail::default(),
            answered: false,
            check: None,
            closed: None,
            stop: None,
        }
    }

    /// To the end of the process. `None`: no other is to be started. Else why it is wrong, if it is.
    async fn run(mut self) -> Option<Option<String>> {
        let cause = self.live().await;
        self.group.kill();
        let status = self.child.wait().await;
        self.group.release();
        // What it wrote before its end counts; with its group killed, nobody else holds the pipes for long.
        if !matches!(cause, Cause::Stopped) {
            let _ = tokio::time::timeout(DRAIN_LIMIT, self.drain()).await;
        }
        let cause = match (cause, status) {
            (Cause::Died(why), Ok(status)) => Cause::Died(format!("{why} ({})", process::ended(status))),
            (cause, _) => cause,
        };
        self.reckon(cause)
    }

    async fn live(&mut self) -> Cause {
        let mut read = vec![0; READ].into_boxed_slice();
        let mut talk = vec![0; READ / 8].into_boxed_slice();
        let mut told = Vec::with_capacity(BATCH);
        loop {
            let due = self.due();
            let pending = !self.out.is_empty();
            let said = tokio::select! {
                n = self.stdout.read(&mut read) => match n {
                    Ok(n) if n > 0 => self.hear(&read[..n]),
                    _ => Err(self.ended("it closed its stdout").await),
                },
                n = write(self.stdin.as_mut(), &self.out[self.out_at..]), if pending => {
                    self.wrote(n);
                    Ok(())
                }
                n = read_some(self.stderr.as_mut(), &mut talk) => {
                    match n {
                        Ok(n) if n > 0 => self.complain(&talk[..n]),
                        _ => self.stderr = None,
                    }
                    Ok(())
                }
                n = self.slot.jobs.recv_many(&mut told, BATCH) => if n == 0 {
                    Err(Cause::Stopped)
                } else {
                    self.told(&mut told)
                },
                _ = self.child.wait() => Err(match self.stop {
                    Some(_) => Cause::Stopped,
                    None => Cause::Died("it ended".to_owned()),
                }),
                () = clock::sleep_until(due) => self.look(clock::now()),
            };
            if let Err(cause) = said {
                return cause;
            }
        }
    }

    /// When [`look`](Self::look) has something to see.
    fn due(&self) -> Option<Instant> {
        let stop = self.stop.map(|(terminate, _)| terminate);
        [self.check, self.closed, stop].into_iter().flatten().min()
    }

    /// All of it, also if there is something among it that ends the process: no job may be forgotten.
    fn told(&mut self, messages: &mut Vec<ToSlot>) -> Result<(), Cause> {
        let mut end = Ok(());
        for message in messages.drain(..) {
            match message {
                ToSlot::Job(job) => self.begin(*job),
                ToSlot::Cancel(id) if self.held.contains_key(&id) => end = Err(Cause::Cancelled),
                ToSlot::Cancel(_) => {}
                ToSlot::Stop { terminate, kill } => {
                    self.stop = Some((terminate, kill));
                    self.stdin = None;
                }
            }
        }
        end
    }

    fn begin(&mut self, job: Job) {
        let before = self.out.len();
        if let Err(error) = protocol::write_delivery(&mut self.out, job.id, &job.delivery) {
            self.out.truncate(before);
            job.end(Outcome::Reject, error.to_string());
            self.free(1);
            return;
        }
        let delivery = job.delivery;
        let unwritten = u64::try_from(self.out.len() - self.out_at).unwrap_or(u64::MAX);
        self.check = Some(self.check.map_or(job.deadline, |check| check.min(job.deadline)));
        self.held.insert(
            job.id,
            Held {
                answer: job.answer,
                deadline: job.deadline,
                place: (delivery.topic, delivery.partition, delivery.offset),
                end: self.written.saturating_add(unwritten),
            },
        );
    }

    fn wrote(&mut self, n: io::Result<usize>) {
        match n {
            Ok(n) if n > 0 => {
                self.out_at += n;
                self.written += u64::try_from(n).unwrap_or_default();
                if self.out_at == self.out.len() {
                    self.out.clear();
                    self.out_at = 0;
                }
            }
            // It takes nothing more, but may still answer what it has.
            _ => {
                self.stdin = None;
                self.closed.get_or_insert(clock::now() + CLOSED_LIMIT);
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        self.lines.push(bytes);
        let mut ended = 0;
        let heard = loop {
            match self.lines.next() {
                Ok(None) => break Ok(()),
                Err(error) => break Err(Cause::Died(error.to_string())),
                Ok(Some(line)) => match protocol::read(line) {
                    Line::Broken(why) => break Err(Cause::Died(why)),
                    Line::Talk(text) => tracing::info!(worker = self.slot.number, "{text}"),
                    Line::Answer { id, answer } => match self.held.remove(&id) {
                        Some(held) => {
                            self.answered = true;
                            ended += 1;
                            let _ = held.answer.send(answer);
                        }
                        None => {
                            self.slot.ignored.fetch_add(1, Ordering::Relaxed);
                        }
                    },
                },
            }
        };
        self.free(ended);
        heard
    }

    fn complain(&mut self, bytes: &[u8]) {
        self.tail.push(bytes);
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            tracing::info!(worker = self.slot.number, "{line}");
        }
    }

    /// Its stdout has ended: so will it, and then it is known how; or it is made to.
    async fn ended(&mut self, why: &str) -> Cause {
        if self.stop.is_some() {
            return Cause::Stopped;
        }
        match tokio::time::timeout(CLOSED_LIMIT, self.child.wait()).await {
            Ok(_) => Cause::Died("it ended".to_owned()),
            Err(_) => Cause::Died(why.to_owned()),
        }
    }

    fn look(&mut self, now: Instant) -> Result<(), Cause> {
        if let Some((terminate, kill)) = self.stop {
            if now >= kill {
                return Err(Cause::Stopped);
            }
            if now >= terminate {
                self.group.terminate();
                // Nothing is left to be done before that.
                self.stop = Some((kill, kill));
            }
            return Ok(());
        }
        if self.closed.is_some_and(|closed| now >= closed) {
            return Err(Cause::Died("it closed its stdin".to_owned()));
        }
        self.check = self.held.values().map(|held| held.deadline).min();
        if self.check.is_some_and(|first| first <= now) {
            return Err(Cause::TimedOut);
        }
        Ok(())
    }

    /// Reads what is left in the pipes.
    async fn drain(&mut self) {
        let mut read = vec![0; READ].into_boxed_slice();
        while let Ok(n) = self.stdout.read(&mut read).await {
            if n == 0 || self.hear(&read[..n]).is_err() {
                break;
            }
        }
        while let Some(stderr) = &mut self.stderr {
            match stderr.read(&mut read).await {
                Ok(n) if n > 0 => self.complain(&read[..n]),
                _ => break,
            }
        }
    }

    fn free(&self, jobs: usize) {
        if jobs > 0 {
            let slot = self.slot.number;
            self.slot.tell(ToPool::Free { slot, jobs });
        }
    }

    /// What becomes of what it held: nothing of it runs any more.
    fn reckon(mut self, cause: Cause) -> Option<Option<String>> {
        let held = std::mem::take(&mut self.held);
        let jobs = held.len();
        let (in_hand, mut unread): (Vec<_>, Vec<_>) =
            held.into_values().partition(|held| held.end <= self.written);
        let tail = self.tail.text();
        let mut wrong = None;
        match cause {
            Cause::Died(why) => {
                let why = if tail.is_empty() {
                    why
                } else {
                    format!("{why}: {tail}")
                };
                let why = bounded(format!("the worker: {why}"));
                if self.answered {
                    self.charge(in_hand, &why);
                    tracing::warn!(worker = self.slot.number, "{why}");
                } else {
                    // Also what it did not read: else nobody would be told that no worker ever lives.
                    end(in_hand, Outcome::Hold, &why);
                    end(std::mem::take(&mut unread), Outcome::Hold, &why);
                    wrong = Some(why);
                }
            }
            Cause::TimedOut => {
                let now = clock::now();
                let (late, others): (Vec<_>, Vec<_>) =
                    in_hand.into_iter().partition(|held| held.deadline <= now);
                end(
                    late,
                    Outcome::Lost { reaped: true },
                    "no answer in time: the worker was killed",
                );
                end(
                    others,
                    Outcome::Aborted,
                    "the worker was killed because of another event",
                );
                if unread.iter().any(|held| held.deadline <= now) {
                    let why = "the worker does not read its stdin: it was killed";
                    end(unread, Outcome::Hold, why);
                    self.free(jobs);
                    return Some(Some(why.to_owned()));
                }
            }
            Cause::Cancelled => end(in_hand, Outcome::Aborted, "cancelled: the worker was killed"),
            Cause::Stopped => end(in_hand, Outcome::Aborted, "the worker was stopped"),
        }
        end(unread, Outcome::Aborted, "the worker had not read it");
        self.free(jobs);
        (!self.is_stopping()).then_some(wrong)
    }

    /// One alone is to blame; of several nobody knows which, and they are run again alone.
    fn charge(&self, held: Vec<Held>, why: &str) {
        let outcome = if held.len() == 1 {
            Outcome::Lost { reaped: true }
        } else {
            let places = held.iter().map(|held| held.place.clone());
            self.slot.tell(ToPool::Suspects(places.collect()));
            Outcome::Aborted
        };
        end(held, outcome, why);
    }

    fn is_stopping(&self) -> bool {
        self.stop.is_some() || self.slot.jobs.is_closed()
    }
}

fn end(held: Vec<Held>, outcome: Outcome, why: &str) {
    for held in held {
        // Nobody may be waiting any more.
        let _ = held.answer.send(Answer::without(outcome, why));
    }
}

/// Pends without a pipe.
async fn write(stdin: Option<&mut ChildStdin>, bytes: &[u8]) -> io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write(bytes).await,
        None => std::future::pending().await,
    }
}

/// Pends without a pipe.
async fn read_some(stderr: Option<&mut ChildStderr>, into: &mut [u8]) -> io::Result<usize> {
    match stderr {
        Some(stderr) => stderr.read(into).await,
        None => std::future::pending().await,
    }
}
