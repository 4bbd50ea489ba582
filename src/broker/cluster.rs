//! The cluster: up to three connections per broker (fetching; a group's log; all else), metadata, retries.
//!
//! One task owns the connections; a [`Cluster`] is a handle to it. Requests themselves go straight
//! over the connections that the task hands out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::backoff::Backoff;
use super::connection::{Connection, Prepared};
use super::error::{Error, Retry};
use super::metadata::{Metadata, PartitionId, View};
use super::request::{Api, topic_name};
use super::settings::{BrokerSettings, HostPort};
use crate::clock;

/// Requests for connections that may wait in the task's inbox.
const INBOX: usize = 64;
/// Delays between tries to reach a broker.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long a server is waited for before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(500);
/// Delays between tries of a request.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Which of a broker's connections: a long poll holds up what comes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Fetch requests.
    Fetch,
    /// Fetch requests for partitions that cannot wait for the answer to the one before.
    Beside,
    /// The tail of a group's log: neither the records' long polls nor what is asked between them may hold it up,
    /// and its own long polls nobody else. Only towards the broker that leads the log.
    Log,
    /// All else.
    Other,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// Whoever is connected, or the bootstrap servers.
    Any,
    /// The broker of this id.
    Broker(i32),
}

type Reply = oneshot::Sender<Result<Arc<Connection>, Error>>;

enum Ask {
    Connection {
        node: Node,
        lane: Lane,
        reply: Reply,
    },
    Learn {
        news: Metadata,
        reply: oneshot::Sender<View>,
    },
}

/// A handle to the cluster. The connections close when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Cluster {
    inbox: mpsc::Sender<Ask>,
    view: watch::Receiver<View>,
    prepared: Arc<Prepared>,
}

impl Cluster {
    /// Makes a handle; nothing is connected before it is needed.
    ///
    /// # Errors
    /// TLS files that cannot be read or used.
    pub fn new(settings: BrokerSettings) -> Result<Self, Error> {
        let prepared = Arc::new(Prepared::new(settings)?);
        let (inbox, asks) = mpsc::channel(INBOX);
        let (publish, view) = watch::channel(View::default());
        let task = Task {
            prepared: Arc::clone(&prepared),
            metadata: Metadata::default(),
            publish,
            links: BTreeMap::new(),
            attempts: JoinSet::new(),
            last_attempt: 0,
        };
        tokio::spawn(task.run(asks));
        Ok(Self {
            inbox,
            view,
            prepared,
        })
    }

    /// How the brokers are reached.
    #[must_use]
    pub fn settings(&self) -> &BrokerSettings {
        &self.prepared.settings
    }

    /// What is known of the cluster now, without asking.
    #[must_use]
    pub fn view(&self) -> View {
        View::clone(&self.view.borrow())
    }

    /// A connection, made if there is none. One attempt: the caller retries.
    ///
    /// # Errors
    /// Those of connecting, and [`Error::UnknownBroker`].
    pub async fn connection(&self, node: Node, lane: Lane) -> Result<Arc<Connection>, Error> {
        let (reply, answer) = oneshot::channel();
        self.inbox
            .send(Ask::Connection { node, lane, reply })
            .await
            .map_err(|_| Error::Closed)?;
        // A link that is dropped because its broker has moved drops its waiters too: they ask again.
        answer.await.unwrap_or(Err(match node {
            Node::Any => Error::Closed,
            Node::Broker(id) => Error::UnknownBroker(id),
        }))
    }

    /// Connects to these brokers beside other work, so that the connections are there when they are needed.
    pub fn warm_up(&self, brokers: impl IntoIterator<Item = i32>, lane: Lane) {
        for broker in brokers {
            let cluster = self.clone();
            // Whoever needs the connection sees why it cannot be made.
            tokio::spawn(async move { drop(cluster.connection(Node::Broker(broker), lane).await) });
        }
    }

    /// Asks and, where trying again may help, asks again until `--timeout` is over.
    /// Error codes inside the answer are the caller's.
    ///
    /// # Errors
    /// Those that a retry does not help, or [`Error::Unreachable`].
    pub async fn ask<R: Api>(&self, node: Node, request: &R) -> Result<R::Response, Error> {
        self.retry(|| async {
            let connection = self.connection(node, Lane::Other).await?;
            connection.request(request, Duration::ZERO).await
        })
        .await
    }

    /// Repeats `what` while its errors can be retried, until `--timeout` is over.
    ///
    /// # Errors
    /// Those that a retry does not help; the last one, as [`Error::Unreachable`] if it was one of connecting.
    pub async fn retry<T, F: Future<Output = Result<T, Error>>>(
        &self,
        mut what: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let within = self.settings().timeout;
        let deadline = clock::now() + within;
        let mut backoff = Backoff::new(RETRY.0, RETRY.1, clock::random());
        loop {
            let error = match what().await {
                Ok(done) => return Ok(done),
                Err(e) if e.retry() == Retry::No => return Err(e),
                Err(e) => e,
            };
            let delay = backoff.next().unwrap_or(RETRY.1);
            if clock::now() + delay >= deadline {
                return Err(match error {
                    refused @ Error::Refused { .. } => refused,
                    source => Error::Unreachable {
                        within,
                        tried: self.addresses(),
                        source: Box::new(source),
                    },
                });
            }
            tracing::debug!("again in {delay:?}: {error}");
            tokio::time::sleep(delay).await;
        }
    }

    fn addresses(&self) -> String {
        let addresses: Vec<_> = self
            .settings()
            .bootstrap
            .iter()
            .map(ToString::to_string)
            .collect();
        addresses.join(", ")
    }

    /// Asks for the metadata of these topics (all, if `None`) and merges it into the view. Topics that do not
    /// exist are in it with their error; they are never created by asking.
    ///
    /// # Errors
    /// Those of [`Cluster::ask`].
    pub async fn refresh(&self, topics: Option<&[&str]>) -> Result<View, Error> {
        let topics = topics.map(|topics| {
            topics
                .iter()
                .map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))))
                .collect()
        });
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(false);
        let response = self.ask(Node::Any, &request).await?;
        let news = Metadata::from_response(&response);
        let (reply, answer) = oneshot::channel();
        let learn = Ask::Learn { news, reply };
        self.inbox.send(learn).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)
    }
}

impl Cluster {
    /// [`Self::refresh`] for the topics of these partitions, which are sorted; to be waited for beside other work.
    pub(crate) fn refresh_topics_of<'p>(
        &self,
        partitions: impl Iterator<Item = &'p PartitionId>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
        let cluster = self.clone();
        let mut topics: Vec<Arc<str>> = partitions.map(|(topic, _)| Arc::clone(topic)).collect();
        topics.dedup();
        Box::pin(async move {
            let names: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
            cluster.refresh(Some(&names)).await.map(|_| ())
        })
    }
}

/// A connection that is there, being made, or neither.
struct Link {
    state: State,
    backoff: Backoff,
    not_before: Option<Instant>,
    /// Which attempt is waited for: a link that was dropped (its broker moved) and made anew does not take the
    /// old one's result.
    attempt: u64,
}

enum State {
    Idle,
    Connecting(Vec<Reply>),
    Ready(Arc<Connection>),
}

impl Link {
    fn new() -> Self {
        Self {
            state: State::Idle,
            backoff: fresh_backoff(),
            not_before: None,
            attempt: 0,
        }
    }

    fn ready(&self, now: Instant) -> Option<&Arc<Connection>> {
        match &self.state {
            State::Ready(connection) if !connection.is_spent(now) => Some(connection),
            _ => None,
        }
    }
}

fn fresh_backoff() -> Backoff {
    Backoff::new(RECONNECT.0, RECONNECT.1, clock::random())
}

type LinkId = (Node, Lane);

struct Task {
    prepared: Arc<Prepared>,
    metadata: Metadata,
    publish: watch::Sender<View>,
    links: BTreeMap<LinkId, Link>,
    attempts: JoinSet<(LinkId, u64, Result<Connection, Error>)>,
    last_attempt: u64,
}

impl Task {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    Some(Ask::Connection { node, lane, reply }) => self.connection(node, lane, reply),
                    Some(Ask::Learn { news, reply }) => self.learn(&news, reply),
                    None => return,
                },
                Some(attempt) = self.attempts.join_next() => {
                    // An attempt neither panics nor is aborted; if it were, its waiters would see their channel closed.
                    if let Ok((id, attempt, result)) = attempt {
                        self.attempted(id, attempt, result);
                    }
                }
            }
        }
    }

    fn connection(&mut self, node: Node, lane: Lane, reply: Reply) {
        let now = clock::now();
        let id = self.resolve(node, lane, now);
        let addresses = match id.0 {
            Node::Any => self.bootstrap(),
            Node::Broker(broker) => match self.metadata.brokers.get(&broker) {
                Some(address) => vec![address.clone()],
                None => {
                    // Nobody may listen any more; then nobody is told.
                    drop(reply.send(Err(Error::UnknownBroker(broker))));
                    return;
                }
            },
        };
        let link = self.links.entry(id).or_insert_with(Link::new);
        match &mut link.state {
            State::Ready(connection) if !connection.is_spent(now) => {
                drop(reply.send(Ok(Arc::clone(connection))));
            }
            State::Connecting(waiting) => waiting.push(reply),
            State::Idle | State::Ready(_) => {
                link.state = State::Connecting(vec![reply]);
                let delay = link
                    .not_before
                    .map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
                self.last_attempt += 1;
                let attempt = self.last_attempt;
                link.attempt = attempt;
                let prepared = Arc::clone(&self.prepared);
                self.attempts.spawn(async move {
                    // A sleep of no time is one of a millisecond.
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                    (id, attempt, open_any(addresses, &prepared).await)
                });
            }
        }
    }

    /// `Any` is a broker that is connected already, if there is one.
    fn resolve(&self, node: Node, lane: Lane, now: Instant) -> LinkId {
        if node == Node::Any {
            let connected = self.links.iter().find(|(id, link)| {
                matches!(id.0, Node::Broker(_)) && id.1 == Lane::Other && link.ready(now).is_some()
            });
            if let Some((id, _)) = connected {
                return *id;
            }
            return (node, Lane::Other);
        }
        (node, lane)
    }

    /// The bootstrap servers, and behind them the brokers that were learnt since.
    fn bootstrap(&self) -> Vec<HostPort> {
        let mut addresses = self.prepared.settings.bootstrap.clone();
        for address in self.metadata.brokers.values() {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    fn attempted(&mut self, id: LinkId, attempt: u64, result: Result<Connection, Error>) {
        let link = self.links.get_mut(&id).filter(|link| link.attempt == attempt);
        let Some(link) = link else { return };
        let State::Connecting(waiting) = std::mem::replace(&mut link.state, State::Idle) else {
            return;
        };
        match result {
            Ok(connection) => {
                let connection = Arc::new(connection);
                link.state = State::Ready(Arc::clone(&connection));
                link.backoff = fresh_backoff();
                link.not_before = None;
                tell(waiting, &Ok(Arc::clone(&connection)));
                if id.1 == Lane::Other && id.0 != Node::Any {
                    // The bootstrap connection has served: one connection per broker and lane.
                    self.drop_bootstrap(connection);
                }
            }
            Err(error) => {
                link.not_before = link.backoff.next().map(|delay| clock::now() + delay);
                tell(waiting, &Err(error));
            }
        }
    }

    /// Whoever waits for any connection takes this one.
    fn drop_bootstrap(&mut self, connection: Arc<Connection>) {
        if let Some(link) = self.links.remove(&(Node::Any, Lane::Other))
            && let State::Connecting(waiting) = link.state
        {
            tell(waiting, &Ok(connection));
        }
    }

    fn learn(&mut self, news: &Metadata, reply: oneshot::Sender<View>) {
        let moved: Vec<LinkId> = self
            .links
            .keys()
            .filter(|id| match id.0 {
                Node::Broker(broker) => news.brokers.get(&broker) != self.metadata.brokers.get(&broker),
                Node::Any => false,
            })
            .copied()
            .collect();
        self.metadata.merge(news);
        for id in moved {
            // Those waiting for it see their channel closed, and ask again with the new address.
            self.links.remove(&id);
        }
        self.adopt_bootstrap();
        let view = Arc::new(self.metadata.clone());
        self.publish.send_replace(Arc::clone(&view));
        drop(reply.send(view));
    }

    /// A bootstrap server that turns out to be a broker of the cluster keeps its connection as that.
    fn adopt_bootstrap(&mut self) {
        let bootstrap = (Node::Any, Lane::Other);
        let Some(State::Ready(connection)) = self.links.get(&bootstrap).map(|link| &link.state) else {
            return;
        };
        let adopted = self
            .metadata
            .brokers
            .iter()
            .find(|(_, address)| *address == connection.broker());
        let Some((&broker, _)) = adopted else { return };
        if let Some(link) = self.links.remove(&bootstrap) {
            self.links
                .entry((Node::Broker(broker), Lane::Other))
                .or_insert(link);
        }
    }
}

fn tell(waiting: Vec<Reply>, result: &Result<Arc<Connection>, Error>) {
    for reply in waiting {
        // Nobody may listen any more; then nobody is told.
        drop(reply.send(result.clone()));
    }
}

/// The first of these that can be connected to: the next one is tried when the one before has failed or had its head
/// start, so that a silent server does not use up the time of those behind it.
async fn open_any(addresses: Vec<HostPort>, prepared: &Arc<Prepared>) -> Result<Connection, Error> {
    let mut untried = addresses.into_iter();
    let mut trying = JoinSet::new();
    let mut failure = None;
    loop {
        if let Some(address) = untried.next() {
            let prepared = Arc::clone(prepared);
            trying.spawn(async move { Connection::open(address, &prepared).await });
        }
        let outcome = if untried.len() == 0 {
            trying.join_next().await
        } else {
            match tokio::time::timeout(HEAD_START, trying.join_next()).await {
                Ok(outcome) => outcome,
                Err(_) => continue,
            }
        };
        match outcome {
            Some(Ok(Ok(connection))) => return Ok(connection),
            Some(Ok(Err(error))) => {
                tracing::info!("{error}");
                // A permanent one (a wrong password) says more than a server that is down.
                if failure
                    .as_ref()
                    .is_none_or(|known: &Error| known.retry() != Retry::No)
                {
                    failure = Some(error);
                }
            }
            // Only a runtime that is being shut down cancels one of these.
            Some(Err(_)) => {}
            None => return Err(failure.unwrap_or(Error::Closed)),
        }
    }
}
