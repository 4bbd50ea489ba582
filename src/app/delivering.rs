//! A member that hands its records to a handler: the loop that joins driver, fetcher, delivery core, handler and dead
//! letters.
//!
//! The [core](crate::delivery::core) decides, this performs. One task owns it all: whatever comes in (ownership from the
//! driver, records from the fetcher, answers, acknowledged letters, time) is told to the core, and what the core then says
//! is done, before the next thing is waited for.

mod fetching;
mod gathering;
mod ids;
mod letters;
mod looking;
mod noting;
mod running;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use self::fetching::Source;
use self::gathering::Gathering;
pub use self::ids::IdFrom;
pub use self::letters::Letters;
use self::looking::{Back, Ids};
pub(crate) use self::looking::{Found, look_up};
use self::noting::Noting;
use super::{Ending, Notice};
use crate::broker::cluster::Cluster;
use crate::broker::error::Error;
use crate::broker::metadata::PartitionId;
use crate::clock;
use crate::delivery::core::{Core, Grant};
use crate::delivery::rules::Rules;
use crate::delivery::{self, Action, Attempt, Claim, Now, Reloaded};
use crate::fetch::fetcher::{Fetcher, Partitions};
use crate::group::driver::{Event, Failure, Group};
use crate::group::record::Token;
use crate::handler::{Answer, Handler};
use crate::progress::Progress;
use crate::record::{DecodeBuffer, OwnedRecord};
use crate::shutdown::Interrupts;

/// How long finished work may stay untold to the driver, which reports it once a second or so.
const TELL: Duration = Duration::from_millis(50);
/// How long acknowledgements of dead letters are waited for when a partition is given up.
const LETTERS_MS: u64 = 3_000;
/// What leaving may take beside the drain: cancelling (2 s), dead letters (3 s), a last report and `leave` (2 s).
const LEAVING: Duration = Duration::from_secs(7);
/// Longest that leaving may take where nothing is owned.
const LEAVING_IDLE: Duration = Duration::from_secs(3);
/// How long a handler's processes may take to end.
const STOPPING: Duration = Duration::from_secs(2);
/// How long a partition that could not be read is left alone.
const RETRY: Duration = Duration::from_secs(30);
/// Between two looks for a lease that was lost, in milliseconds.
const NO_LEASE_MS: u64 = 100;
/// After an error of looking something up.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How a member delivers.
#[derive(Debug, Clone)]
pub struct Delivering {
    /// The group.
    pub group: Arc<str>,
    /// How records are handled.
    pub delivery: delivery::Settings,
    /// How long what is under way may take when this member leaves.
    pub drain: Duration,
    /// Whether only committed transactions are seen.
    pub read_committed: bool,
    /// Starts a second, of the whole group.
    pub max_rate: Option<NonZeroU32>,
    /// Larger events never reach the handler, in bytes of key, value and headers.
    pub max_event: Option<u32>,
    /// What the ids are by which duplicates are dropped.
    pub dedup_id: IdFrom,
}

/// What was looked up beside the loop.
enum Looked {
    Record(Claim, i64, Result<Reloaded<Arc<OwnedRecord>>, Error>),
    Ids(Back, Result<Ids, Error>),
}

type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T>>>;

/// A partition that is ours.
struct Owned {
    id: PartitionId,
    token: Token,
    /// It is one of a replay topic.
    replays: bool,
    source: Source,
    /// It is to be given back.
    ending: bool,
    /// Dead letters that could not be written, and why.
    unwritten: BTreeMap<i64, String>,
}

/// A member at work.
pub struct Deliverer {
    cluster: Cluster,
    settings: Delivering,
    group: Group,
    events: mpsc::Receiver<Event>,
    fetcher: Fetcher,
    partitions: Partitions,
    handler: Handler,
    letters: Letters,
    core: Core<Arc<OwnedRecord>>,
    claims: BTreeMap<PartitionId, Claim>,
    owned: BTreeMap<Claim, Owned>,
    running: FuturesUnordered<Boxed<(Attempt, Answer)>>,
    aborts: BTreeMap<Attempt, oneshot::Sender<()>>,
    /// When what the core said last was begun with.
    acting: Now,
    gathering: Gathering,
    /// Room for what the core says, between two turns.
    actions: Vec<Action<Arc<OwnedRecord>>>,
    writing: FuturesUnordered<Boxed<letters::Done>>,
    looking: FuturesUnordered<Boxed<Looked>>,
    /// For all that is due at a time.
    alarm: clock::Alarm,
    buffer: DecodeBuffer,
    last_tag: u64,
    /// The driver's last event, if it was read already.
    last: Option<Event>,
    /// Partitions that have ended here and are given back with the one that shares their lanes.
    ended: BTreeMap<PartitionId, (Token, Progress)>,
    /// When finished work is told to the driver; `None` if there is none.
    tell_at: Option<Instant>,
    noting: Noting,
    notices: Vec<Notice>,
    ready: bool,
    /// Until when leaving may take.
    leaving: Option<Instant>,
    /// Events that were cancelled while it left.
    cut_off: usize,
}

impl Deliverer {
    /// Joins what was started: the driver's handle and events, a fetcher and its partitions, a handler that is ready, and
    /// the writers of dead letters.
    #[must_use]
    pub fn new(
        (cluster, settings): (Cluster, Delivering),
        (group, events): (Group, mpsc::Receiver<Event>),
        (fetcher, partitions): (Fetcher, Partitions),
        handler: Handler,
        letters: Letters,
    ) -> Self {
        Self {
            core: Core::new(settings.delivery.clone(), Rules::all(), clock::random()),
            cluster,
            settings,
            group,
            events,
            fetcher,
            partitions,
            handler,
            letters,
            claims: BTreeMap::new(),
            owned: BTreeMap::new(),
            running: FuturesUnordered::new(),
            aborts: BTreeMap::new(),
            acting: now(),
            gathering: Gathering::new(clock::now()),
            actions: Vec::new(),
            writing: FuturesUnordered::new(),
            looking: FuturesUnordered::new(),
            alarm: clock::Alarm::default(),
            buffer: DecodeBuffer::new(),
            last_tag: 0,
            last: None,
            ended: BTreeMap::new(),
            tell_at: None,
            noting: Noting::default(),
            notices: Vec::new(),
            ready: false,
            leaving: None,
            cut_off: 0,
        }
    }

    /// Works until the group is left, after a signal, or the driver gives up.
    ///
    /// # Errors
    /// The driver's.
    pub async fn run(
        mut self,
        interrupts: &mut Interrupts,
        mut tell: impl FnMut(Notice),
    ) -> Result<Ending, Failure> {
        loop {
            self.turn().await;
            self.notices.drain(..).for_each(&mut tell);
            if matches!(self.handler, Handler::Http(_))
                && let Some(pause) = self.gathering.pause(clock::now(), self.core.slots())
            {
                clock::nap(pause);
            }
            let wake = self.wake();
            let alarm = &mut self.alarm;
            tokio::select! {
                event = next_event(&mut self.last, &mut self.events) => match event {
                    Some(Event::Failed(failure)) => return Err(failure),
                    Some(Event::Left) | None => {
                        self.stop().await;
                        return Ok(Ending::Left {
                            unread: self.unread(),
                            cut_off: self.cut_off,
                        });
                    }
                    Some(event) => {
                        self.event(event);
                        // A partition and the one with its replays are to be drained together.
                        self.more_events();
                    }
                },
                Some(event) = self.fetcher.next() => self.fetched(event).await,
                Some(answered) = self.running.next(), if !self.running.is_empty() => self.answered(answered),
                Some(done) = self.writing.next(), if !self.writing.is_empty() => self.written(done),
                Some(looked) = self.looking.next(), if !self.looking.is_empty() => self.looked(looked),
                () = alarm.until(wake) => {
                    if self.due().await {
                        let held = self.owned.len();
                        self.stop().await;
                        return Ok(Ending::GaveUp { held });
                    }
                }
                () = interrupts.next() => {
                    if self.leaving.is_some() {
                        return Ok(Ending::Interrupted);
                    }
                    tell(Notice::Leaving);
                    self.leave();
                }
            }
        }
    }

    /// Has the core decide, and does what it says.
    async fn turn(&mut self) {
        let lease = self.group.lease();
        let may_start = lease.may_start();
        if !may_start {
            // Whoever gets the partition next must not meet a handler of ours. What is ended here is not held against
            // its record.
            self.abort_all();
        }
        self.retry_sources().await;
        if let Some(rate) = self.settings.max_rate {
            let members = u32::try_from(self.group.living()).unwrap_or(u32::MAX);
            self.core
                .set_rate(Some(f64::from(rate.get()) / f64::from(members)));
        }
        self.core.poll(now(), may_start);
        let mut actions = std::mem::take(&mut self.actions);
        loop {
            self.core.swap_actions(&mut actions);
            if actions.is_empty() {
                break;
            }
            self.noting.look();
            self.acting = now();
            for action in actions.drain(..) {
                self.act(action).await;
            }
        }
        self.actions = actions;
    }

    /// When there is something to do without anything coming in.
    fn wake(&mut self) -> Option<Instant> {
        let now = now();
        let core = self.core.next_wake(now).map(|at| at.saturating_sub(now.mono));
        let lease = self.group.lease();
        let lease = if lease.may_start() {
            (!self.aborts.is_empty()).then(|| lease.left().max(1))
        } else {
            // Nobody tells when it is there again.
            (!self.owned.is_empty()).then_some(NO_LEASE_MS)
        };
        let soonest = core.into_iter().chain(lease).min();
        let soonest = soonest.map(|millis| clock::now() + Duration::from_millis(millis));
        let retries = self.owned.values().filter_map(|owned| owned.source.retry);
        let own = [soonest, self.tell_at, self.noting.at(), self.leaving];
        own.into_iter().flatten().chain(retries).min()
    }

    /// Tells what is to be told by now; whether leaving has taken too long.
    async fn due(&mut self) -> bool {
        let now = clock::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.tell_at) {
            self.report().await;
        }
        if is_due(self.noting.at()) {
            self.note().await;
        }
        is_due(self.leaving)
    }

    fn more_events(&mut self) {
        while !matches!(self.last, Some(Event::Left | Event::Failed(_))) {
            match self.events.try_recv() {
                Ok(event @ (Event::Left | Event::Failed(_))) => self.last = Some(event),
                Ok(event) => self.event(event),
                Err(_) => return,
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Start {
                partition,
                token,
                progress,
                clean,
            } => {
                let beside = self.letters.source_of(&partition);
                let replays = beside.is_some();
                let grant = Grant {
                    taken_over: !clean,
                    beside,
                    retention: self.letters.retention(&partition.0),
                };
                let claim = self
                    .core
                    .grant(now(), partition.clone(), token.number(), progress, grant);
                self.claims.insert(partition.clone(), claim);
                self.owned.insert(
                    claim,
                    Owned {
                        id: partition,
                        token,
                        replays,
                        source: Source::default(),
                        ending: false,
                        unwritten: BTreeMap::new(),
                    },
                );
            }
            Event::Reported {
                partition,
                token,
                progress,
            } => self.with(&partition, token, |core, claim| core.reported(claim, &progress)),
            Event::Pause { partition, token } => {
                self.with(&partition, token, |core, claim| core.pause(claim, true))
            }
            Event::Unpause { partition, token } => {
                self.with(&partition, token, |core, claim| core.pause(claim, false));
            }
            Event::Resumed => {
                // Which is how an operator says that rejections are meant.
                self.core.resume();
                self.noting.look();
            }
            Event::Skip {
                partition,
                token,
                offset,
            } => {
                self.with(&partition, token, |core, claim| core.skip(now(), claim, offset));
                self.note_work();
            }
            Event::Drain { partition, token } => {
                self.with(&partition, token, Core::drain);
                self.note_ending(&partition, token);
            }
            Event::Cancel { partition, token } => {
                let letters = if self.group.lease().may_start() {
                    LETTERS_MS
                } else {
                    0
                };
                let until = now().mono + letters;
                self.with(&partition, token, |core, claim| core.cancel(claim, until));
                self.note_ending(&partition, token);
            }
            Event::Ready { owned, total } => {
                if !std::mem::replace(&mut self.ready, true) {
                    self.notices.push(Notice::Ready { owned, total });
                }
            }
            Event::Removed { why } => self.notices.push(Notice::Removed { why }),
            // Both end the loop.
            Event::Left | Event::Failed(_) => {}
        }
    }

    /// Does something with a partition, if it is still ours under this token.
    fn with(
        &mut self,
        id: &PartitionId,
        token: Token,
        what: impl FnOnce(&mut Core<Arc<OwnedRecord>>, Claim),
    ) {
        let Some(claim) = self.claims.get(id).copied() else {
            return;
        };
        if self.owned.get(&claim).is_some_and(|owned| owned.token == token) {
            what(&mut self.core, claim);
        }
    }

    async fn act(&mut self, action: Action<Arc<OwnedRecord>>) {
        match action {
            Action::Fetch { claim, .. } | Action::Pause { claim } => self.steer(claim).await,
            Action::FetchAgain { claim, offsets } => self.fetch_again(claim, offsets.start).await,
            Action::Reload { claim, offset } => self.reload(claim, offset),
            Action::ReadBack { claim, to } => self.read_back(claim, to),
            Action::Start(start) => self.start(start),
            Action::Abort(attempt) => {
                if let Some(abort) = self.aborts.remove(&attempt) {
                    // It may have ended in this moment: its answer is on its way.
                    let _ = abort.send(());
                }
            }
            Action::DeadLetter(letter) => self.write(letter),
            Action::Gap { claim, offsets } => self.gap(claim, offsets).await,
            Action::Breaker { open } => self.notices.push(Notice::Breaker { open }),
            Action::FuseBlown => self.notices.push(Notice::FuseBlown),
            Action::Ended { claim, progress } => {
                let Some(Owned {
                    id, token, source, ..
                }) = self.owned.remove(&claim)
                else {
                    return;
                };
                if self.claims.get(&id) == Some(&claim) {
                    self.claims.remove(&id);
                    if source.is_fetching() {
                        self.partitions.remove(id.clone()).await;
                    }
                }
                self.give_back(id, token, progress).await;
            }
        }
    }

    fn note_ending(&mut self, id: &PartitionId, token: Token) {
        if let Some(claim) = self.claims.get(id)
            && let Some(owned) = self.owned.get_mut(claim)
            && owned.token == token
        {
            owned.ending = true;
        }
    }

    /// Gives a partition back, together with the one that shares its lanes if that one ends as well: whoever gets the
    /// one must not meet a handler of the other's.
    async fn give_back(&mut self, id: PartitionId, token: Token, progress: Progress) {
        let other = self.letters.partner(&id);
        let waits = self
            .claims
            .get(&other)
            .and_then(|claim| self.owned.get(claim))
            .is_some_and(|owned| owned.ending);
        if waits {
            self.ended.insert(id, (token, progress));
            return;
        }
        let with_it = self.ended.remove_entry(&other);
        let both = with_it.map(|(id, (token, progress))| (id, token, progress));
        for (id, token, progress) in both.into_iter().chain([(id, token, progress)]) {
            self.group.progress(id.clone(), token, progress).await;
            self.group.ended(id, token).await;
        }
    }

    async fn gap(&mut self, claim: Claim, offsets: Range<i64>) {
        let Some(owned) = self.owned.get(&claim) else {
            return;
        };
        self.group
            .gap(owned.id.clone(), owned.token, offsets.clone())
            .await;
        self.notices.push(Notice::Gone {
            partition: owned.id.clone(),
            offsets,
        });
        self.note_work();
    }

    /// There is finished work that the driver does not know of.
    fn note_work(&mut self) {
        self.tell_at.get_or_insert_with(|| clock::now() + TELL);
        self.noting.look();
    }

    async fn report(&mut self) {
        self.tell_at = None;
        for (claim, progress) in self.core.take_changed() {
            if let Some(owned) = self.owned.get(&claim) {
                self.group.progress(owned.id.clone(), owned.token, progress).await;
            }
        }
    }

    fn reload(&mut self, claim: Claim, offset: i64) {
        let Some(owned) = self.owned.get(&claim) else {
            return;
        };
        let (cluster, id, read_committed) = (
            self.cluster.clone(),
            owned.id.clone(),
            self.settings.read_committed,
        );
        self.looking.push(Box::pin(async move {
            Looked::Record(
                claim,
                offset,
                looking::reload(&cluster, &id, offset, read_committed).await,
            )
        }));
    }

    fn read_back(&mut self, claim: Claim, to: i64) {
        let Some(owned) = self.owned.get(&claim) else {
            return;
        };
        let progress = self.core.progress(claim);
        let next = progress.and_then(|progress| progress.next).unwrap_or(0);
        let window = self.settings.delivery.dedup.map_or(0, |dedup| dedup.window);
        let back = Back {
            claim,
            id: owned.id.clone(),
            how: (
                self.settings.read_committed,
                self.letters.source_of(&owned.id).is_some(),
            ),
            ids: self.settings.dedup_id.clone(),
            next,
            to,
            window: (
                i64::try_from(window).unwrap_or(i64::MAX),
                self.core.window_ids(claim),
            ),
            from: None,
            began: clock::now(),
            found: 0,
        };
        self.read_on(back, None);
    }

    fn looked(&mut self, looked: Looked) {
        match looked {
            Looked::Record(claim, offset, Ok(record)) => {
                self.core.reloaded(claim, offset, record);
                self.note_work();
            }
            Looked::Record(claim, offset, Err(error)) => {
                let Some(owned) = self.owned.get(&claim) else {
                    return;
                };
                tracing::warn!(
                    "offset {offset} of {:?} cannot be read again: {}",
                    owned.id,
                    error.chain()
                );
                let (cluster, id, read_committed) = (
                    self.cluster.clone(),
                    owned.id.clone(),
                    self.settings.read_committed,
                );
                self.looking.push(Box::pin(async move {
                    clock::sleep_until(Some(clock::now() + LOOK_AGAIN)).await;
                    Looked::Record(
                        claim,
                        offset,
                        looking::reload(&cluster, &id, offset, read_committed).await,
                    )
                }));
            }
            Looked::Ids(back, Ok(ids)) => {
                self.core.read_back(back.claim, ids);
                if back.is_over() {
                    back.tell();
                    self.core.read_back_done(back.claim);
                } else {
                    self.read_on(back, None);
                }
            }
            Looked::Ids(back, Err(error)) => {
                tracing::warn!(
                    "the ids of finished events cannot be read back: {}",
                    error.chain()
                );
                self.read_on(back, Some(clock::now() + LOOK_AGAIN));
            }
        }
    }

    fn read_on(&mut self, mut back: Back, not_before: Option<Instant>) {
        if !self.owned.contains_key(&back.claim) {
            return;
        }
        let cluster = self.cluster.clone();
        self.looking.push(Box::pin(async move {
            if not_before.is_some() {
                clock::sleep_until(not_before).await;
            }
            let ids = back.step(&cluster).await;
            Looked::Ids(back, ids)
        }));
    }

    /// Has the driver leave: it asks for each partition's end.
    fn leave(&mut self) {
        let within = if self.owned.is_empty() {
            LEAVING_IDLE
        } else {
            self.settings.drain + LEAVING
        };
        self.leaving = Some(clock::now() + within);
        self.group.leave();
    }

    /// Ends what still runs.
    async fn stop(&mut self) {
        self.abort_all();
        while self.running.next().await.is_some() {}
        self.handler.stop(STOPPING).await;
    }

    fn abort_all(&mut self) {
        for (_, abort) in std::mem::take(&mut self.aborts) {
            let _ = abort.send(());
        }
    }

    fn unread(&self) -> usize {
        self.owned
            .values()
            .filter(|owned| owned.source.retry.is_some())
            .count()
    }
}

async fn next_event(last: &mut Option<Event>, events: &mut mpsc::Receiver<Event>) -> Option<Event> {
    match last.take() {
        Some(event) => Some(event),
        None => events.recv().await,
    }
}

fn now() -> Now {
    Now {
        mono: clock::mono_millis(),
        unix: clock::unix_millis(),
    }
}
