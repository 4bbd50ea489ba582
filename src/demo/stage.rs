//! The demo at work: everything is started, the script is played, and what happens is written down.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::MissedTickBehavior;

use super::account::Account;
use super::book::{Book, Cause, Millis, Place};
use super::consumers::{Consumers, News};
use super::handler::{Handler, Told};
use super::orders::{Event, Orders};
use super::publish::{Published, Publisher};
use super::script::{Action, Pace, Script, Step, Turn, VICTIM, name};
use super::tally::{Process, Tally};
use super::view::{Model, Past};
use super::watch::{self, Look, Watch, Watched};
use super::{GROUP, PARTITIONS, TOPIC};
use crate::broker::Cluster;
use crate::broker::settings::{BrokerSettings, HostPort};
use crate::clock;
use crate::sandbox::{self, NewTopic};
use crate::shutdown::Interrupts;

/// Events published in a second.
const RATE: u64 = 100;
/// Between two looks at everything.
const TICK: Duration = Duration::from_millis(50);
/// Events published in one of these at most: what a stalled machine has missed comes over some of them.
const MAX_BURST: u64 = 50;
/// Events that may be without an acknowledgement before no more are published.
const MAX_OUT: u64 = 2_000;
/// How long the consumers may take to end when they are asked to, in milliseconds.
const ENDING: Millis = 30_000;
/// For one request to the sandbox, and for its first answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the demo is to be.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Equal seeds publish equal events.
    pub seed: u64,
    /// How long things last.
    pub pace: Pace,
}

/// How the consumers' lines begin by which it is known what happened to them.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// The breaker has opened.
    pub opened: &'static str,
    /// It has closed.
    pub closed: &'static str,
    /// The group has given the member up.
    pub removed: &'static str,
}

/// What is told while it plays.
#[derive(Debug)]
pub enum Tell<'a> {
    /// The sandbox listens there.
    Listens(&'a str),
    /// A step begins.
    Began(Step),
    /// A step is over.
    Over(&'a Past),
    /// A consumer has said this.
    Said(String, &'a str),
    /// How it stands; told several times a second.
    Stands(&'a Model),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As the script has it.
    Played,
    /// By a signal.
    Interrupted,
    /// In this step, for this reason.
    Failed(Step, String),
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// What is over.
    pub past: Vec<Past>,
    /// What became of every event, as far as it was played.
    pub account: Account,
    /// What the consumers said last, where it failed.
    pub talk: Vec<String>,
}

/// Plays it.
///
/// # Errors
/// Something cannot be started, or looked at any more.
pub async fn run(
    options: Options,
    words: Words,
    interrupts: &mut Interrupts,
    tell: impl FnMut(Tell<'_>),
) -> anyhow::Result<Report> {
    let topic = NewTopic {
        name: TOPIC.to_owned(),
        partitions: i32::try_from(PARTITIONS).ok(),
        configs: BTreeMap::new(),
    };
    let sandbox = sandbox::start(sandbox::Options {
        topics: vec![topic],
        auto_create: false,
        seed: options.seed,
        ..sandbox::Options::default()
    });
    let sandbox = sandbox.await.context("the sandbox does not start")?;
    let address = sandbox.address();
    let cluster = Cluster::new(BrokerSettings {
        bootstrap: vec![HostPort {
            host: address.ip().to_string(),
            port: address.port(),
        }],
        client_id: "barnabas-demo".to_owned(),
        timeout: PATIENCE,
        request_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        tls: None,
        sasl: None,
    })?;
    let watched = Watched {
        cluster: cluster.clone(),
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
    };
    let handler = Handler::start().await.context("the handler does not start")?;
    let watch = Watch::start(&watched)
        .await
        .context("the group cannot be looked at")?;
    let mut stage = Stage {
        began: clock::mono_millis(),
        address: address.to_string(),
        seed: options.seed,
        words,
        watched,
        script: Script::new(options.pace, 0),
        orders: Orders::new(options.seed),
        publisher: Publisher::start(cluster, TOPIC, PARTITIONS),
        consumers: Consumers::default(),
        handler,
        watch,
        replaying: None,
        book: Book::default(),
        tally: Tally::default(),
        letters: BTreeMap::new(),
        past: Vec::new(),
        publishing: None,
        ending: None,
        tell,
    };
    let end = stage.play(interrupts).await?;
    stage.report(end).await
}

/// Dead letters that are being replayed.
type Replaying = Pin<Box<dyn Future<Output = anyhow::Result<usize>>>>;

/// Waits for its end; for ever, if there is none.
async fn ended(replaying: &mut Option<Replaying>) -> anyhow::Result<usize> {
    match replaying {
        Some(replaying) => replaying.await,
        None => std::future::pending().await,
    }
}

/// Everything at work.
struct Stage<T> {
    began: u64,
    address: String,
    seed: u64,
    words: Words,
    watched: Watched,
    script: Script,
    orders: Orders,
    publisher: Publisher,
    consumers: Consumers,
    handler: Handler,
    watch: Watch,
    replaying: Option<Replaying>,
    book: Book,
    tally: Tally,
    /// Dead letters, and whether they were replayed.
    letters: BTreeMap<Place, bool>,
    past: Vec<Past>,
    /// Since when events are published, and how many were.
    publishing: Option<(Millis, u64)>,
    /// Since when the consumers are to end.
    ending: Option<Millis>,
    tell: T,
}

impl<T: FnMut(Tell<'_>)> Stage<T> {
    fn now(&self) -> Millis {
        clock::mono_millis().saturating_sub(self.began)
    }

    async fn play(&mut self, interrupts: &mut Interrupts) -> anyhow::Result<End> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        (self.tell)(Tell::Listens(&self.address));
        (self.tell)(Tell::Began(self.script.step()));
        loop {
            tokio::select! {
                () = interrupts.next() => return Ok(End::Interrupted),
                Some(told) = self.handler.next() => self.handled(told),
                news = self.consumers.next() => if let Some(why) = self.heard(news) {
                    return Ok(End::Failed(self.script.step(), why));
                },
                published = self.publisher.next() => self.published(&published?),
                look = self.watch.next() => self.looked(look)?,
                replayed = ended(&mut self.replaying) => {
                    self.replaying = None;
                    replayed.context("the dead letters cannot be replayed")?;
                }
                _ = ticks.tick() => if let Some(end) = self.tick().await? {
                    return Ok(end);
                },
            }
        }
    }

    /// Looks at everything, and does what is to be done.
    async fn tick(&mut self) -> anyhow::Result<Option<End>> {
        let now = self.now();
        self.publish(now).await?;
        self.tally.second(&self.book, now);
        let seen = self.tally.seen(&self.book, PARTITIONS as usize, now);
        if let Some(since) = self.ending {
            if self.tally.processes.iter().all(|process| !process.alive) {
                return Ok(Some(End::Played));
            }
            if now.saturating_sub(since) > ENDING {
                return Ok(Some(self.late("the consumers to end")));
            }
        } else {
            match self.script.look(&seen, now) {
                Turn::Same => {}
                Turn::Late(waiting) => return Ok(Some(self.late(&waiting))),
                Turn::Over(result) => {
                    let step = self.script.step();
                    let took = now.saturating_sub(self.script.began());
                    self.past.push(Past { step, result, took });
                    if let Some(past) = self.past.last() {
                        (self.tell)(Tell::Over(past));
                    }
                    if self.script.go_on(&seen, now) {
                        (self.tell)(Tell::Began(self.script.step()));
                    }
                }
            }
        }
        for action in self.script.actions() {
            self.act(action, now).await?;
        }
        let model = self.model(now);
        (self.tell)(Tell::Stands(&model));
        Ok(None)
    }

    fn late(&self, waiting: &str) -> End {
        End::Failed(self.script.step(), format!("waited in vain for {waiting}"))
    }

    fn model(&self, now: Millis) -> Model {
        let step = self
            .ending
            .is_none()
            .then(|| (self.script.step(), self.script.began()));
        Model {
            sandbox: self.address.clone(),
            seed: self.seed,
            past: self.past.clone(),
            ..self.tally.model(&self.book, step, now)
        }
    }

    async fn act(&mut self, action: Action, now: Millis) -> anyhow::Result<()> {
        match action {
            Action::Start(consumer) => self.start(consumer)?,
            Action::Publish(go) => self.publishing = go.then_some((now, 0)),
            Action::Poison => {
                let [placed, paid] = self.orders.poison();
                let placed = self.submit(placed, false, now);
                let paid = self.submit(paid, true, now);
                self.tally.poison = Some(paid.0);
                self.publisher
                    .publish(&[placed, paid], clock::unix_millis())
                    .await?;
            }
            Action::Outage(out) => self.handler.behave(|behaviour| behaviour.out = out),
            Action::Mend => self.handler.behave(|behaviour| behaviour.mended = true),
            Action::Kill(consumer) => {
                self.consumers.kill(consumer).await;
                self.book.lost_member(consumer, Cause::Killed, now);
            }
            Action::Replay => self.replaying = Some(Box::pin(watch::replay(self.watched.clone()))),
            Action::End => {
                self.ending = Some(now);
                self.consumers.terminate().await;
            }
        }
        Ok(())
    }

    fn start(&mut self, consumer: usize) -> anyhow::Result<()> {
        let url = self.handler.url(consumer);
        // Those of short demos; no other is needed to make the promises hold.
        let args = [
            "consume",
            "--config",
            "/dev/null",
            "-b",
            &self.address,
            "-t",
            TOPIC,
            "-g",
            GROUP,
            "--http",
            &url,
            "--session",
            "2s",
            "--retry",
            "5",
            "--backoff",
            "100ms..1s",
        ]
        .map(str::to_owned);
        let started = self.consumers.start(&args);
        let pid = started.with_context(|| format!("consumer {} cannot be started", name(consumer)))?;
        self.tally.processes.push(Process::started(pid));
        Ok(())
    }

    fn submit(&mut self, event: Event, poison: bool, now: Millis) -> (usize, Event) {
        (self.book.submitted(event.clone(), poison, now), event)
    }

    /// Publishes what is due.
    async fn publish(&mut self, now: Millis) -> anyhow::Result<()> {
        let Some((since, sent)) = self.publishing else {
            return Ok(());
        };
        let due = (RATE * now.saturating_sub(since) / 1_000).saturating_sub(sent);
        let out = self.book.entries().len() as u64 - self.book.published();
        let count = due.min(MAX_BURST).min(MAX_OUT.saturating_sub(out));
        self.publishing = Some((since, sent + count));
        let events: Vec<(usize, Event)> = (0..count)
            .map(|_| {
                let event = self.orders.next_event();
                self.submit(event, false, now)
            })
            .collect();
        self.publisher.publish(&events, clock::unix_millis()).await
    }

    fn published(&mut self, published: &Published) {
        for (index, offset) in &published.events {
            self.book.acknowledged(*index, published.partition, *offset);
        }
    }

    fn handled(&mut self, told: Told) {
        let now = self.now();
        match told {
            Told::Begun(delivery, place) => self.book.begun(&delivery, place, now),
            Told::Ended(number, ending) => self.book.ended(number, ending, now),
            Told::Unread(number) => self.book.unread(number, now),
        }
    }

    /// What the handler has told so far is written down first: what follows may be about it.
    fn catch_up(&mut self) {
        while let Some(told) = self.handler.take() {
            self.handled(told);
        }
    }

    /// What a consumer says or does; why the demo has failed, if it was not to do that.
    fn heard(&mut self, news: News) -> Option<String> {
        self.catch_up();
        let (at, status) = match news {
            News::Said(at, line) => {
                let has = |word: &str| line.contains(word);
                let (opened, closed) = (has(self.words.opened), has(self.words.closed));
                if has(self.words.removed) {
                    self.book.lost_member(at, Cause::Removed, self.now());
                }
                if let Some(process) = self.tally.processes.get_mut(at) {
                    process.breaker = (process.breaker || opened) && !closed;
                }
                (self.tell)(Tell::Said(name(at), &line));
                return None;
            }
            News::Failed(at, error) => return Some(format!("{} cannot be waited for: {error}", name(at))),
            News::Ended(at, status) => (at, status),
        };
        if let Some(process) = self.tally.processes.get_mut(at) {
            process.alive = false;
        }
        // Only who is killed, or asked to end, may go.
        let expected = if self.ending.is_some() {
            status.success()
        } else {
            at == VICTIM && self.script.step() >= Step::Kill
        };
        (!expected).then(|| format!("{} has ended with {status}", name(at)))
    }

    fn looked(&mut self, look: Look) -> anyhow::Result<()> {
        match look {
            Look::Group(group) => self.tally.group = group,
            Look::Ends(ends) => self.tally.ends = ends,
            Look::Letters(letters) => {
                self.catch_up();
                // One whose event's acknowledgement is still on its way is there the next time.
                self.lettered(letters);
            }
            Look::Failed(error) => return Err(error.context("the group cannot be looked at any more")),
        }
        Ok(())
    }

    /// Writes dead letters down. Gives the place of one that is of nothing that was published, as far as is known yet.
    fn lettered(&mut self, letters: Vec<(Place, bool)>) -> Option<Place> {
        let mut unknown = None;
        for (place, replayed) in letters {
            if self.book.letter(place) {
                self.letters.insert(place, replayed);
            } else {
                unknown = Some(place);
            }
        }
        unknown
    }

    /// Ends what still runs, and adds up.
    async fn report(mut self, end: End) -> anyhow::Result<Report> {
        let mut in_topic = None;
        if end == End::Played {
            in_topic = Some(watch::held(&self.watched).await?);
            let letters = watch::letters(&self.watched).await?;
            self.catch_up();
            if let Some((partition, offset)) = self.lettered(letters) {
                bail!(
                    "there is a dead letter of offset {offset} of partition {partition}, where nothing was published"
                );
            }
        }
        for at in 0..self.consumers.len() {
            self.consumers.kill(at).await;
        }
        self.catch_up();
        let letters = &self.letters;
        let is_replayed = |entry: &super::book::Entry| {
            entry
                .place
                .is_some_and(|place| letters.get(&place) == Some(&true))
        };
        let account = Account::of(&self.book, in_topic, is_replayed);
        let now = self.now();
        let model = self.model(now);
        (self.tell)(Tell::Stands(&model));
        let mut talk = Vec::new();
        if matches!(end, End::Failed(..)) {
            for at in 0..self.consumers.len() {
                talk.extend(
                    self.consumers
                        .tail(at)
                        .map(|line| format!("{}: {line}", name(at))),
                );
            }
        }
        Ok(Report {
            end,
            past: self.past,
            account,
            talk,
        })
    }
}
