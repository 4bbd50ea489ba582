//! The sandbox at work: a listener, a task per connection, and one task that owns the cluster.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::call::{Action, Client, Now};
use super::cluster::{Cluster, Limits};
use super::folder::{Folder, FolderError};
use super::keep::Kept;
use super::{Control, Options};
use crate::clock;

/// The longest request, in bytes: Kafka's `socket.request.max.bytes`.
const MAX_REQUEST: usize = 100 << 20;
/// The longest control line, in bytes.
const MAX_LINE: usize = 64 << 10;
/// Requests that wait for the cluster; each connection has one at most.
const INBOX: usize = 256;
/// Pieces of an answer that are written at once.
const PIECES: usize = 64;
/// After the system would not take a connection: until it is asked again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Why the sandbox does not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The folder cannot be read or written.
    #[error("the sandbox's data cannot be kept")]
    Folder(#[from] FolderError),
    /// One of the topics to begin with is not possible.
    #[error("topic {name}: {why}")]
    Topic {
        /// Its name.
        name: String,
        /// As a client would be told.
        why: String,
    },
    /// One of the configurations for topics is not possible.
    #[error("configuration of topics: {0}")]
    Config(String),
    /// The sandbox has ended.
    #[error("the sandbox has ended")]
    Ended,
}

/// A connection's business with the cluster.
enum Input {
    Request {
        ticket: u64,
        client: Client,
        frame: BytesMut,
        answer: oneshot::Sender<Outcome>,
    },
    /// The connection is gone before the answer.
    HangUp(u64),
    Control(Vec<u8>, oneshot::Sender<String>),
}

/// What becomes of a request.
enum Outcome {
    Reply { pieces: Vec<Bytes>, mute: u64 },
    Nothing,
    Close,
}

/// A sandbox that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    inbox: mpsc::Sender<Input>,
    owner: JoinHandle<Result<(), SandboxError>>,
    listener: JoinHandle<()>,
    /// What was odd about the folder, for people.
    pub warnings: Vec<String>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it what is to go wrong. Returns its answer, a line of JSON.
    ///
    /// # Errors
    /// It has ended.
    pub async fn control(&self, control: &Control) -> Result<String, SandboxError> {
        let line = serde_json::to_vec(control).map_err(|_| SandboxError::Ended)?;
        let (answer, answered) = oneshot::channel();
        let sent = self.inbox.send(Input::Control(line, answer)).await;
        sent.map_err(|_| SandboxError::Ended)?;
        answered.await.map_err(|_| SandboxError::Ended)
    }

    /// Waits until it ends by itself, which it does only if its folder cannot be written any more.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn ended(&mut self) -> Result<(), SandboxError> {
        match (&mut self.owner).await {
            Ok(result) => result,
            Err(_) => Err(SandboxError::Ended),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.listener.abort();
        self.owner.abort();
    }
}

fn now() -> Now {
    Now {
        wall: clock::unix_millis(),
        mono: clock::mono_millis(),
    }
}

/// Starts a sandbox in tasks of the present runtime. When this returns, clients can connect.
///
/// # Errors
/// The address or the folder cannot be had, or a topic is not possible.
pub async fn start(options: Options) -> Result<Running, SandboxError> {
    let (folder, kept, warnings) = match &options.data {
        Some(path) => {
            let (folder, kept, warnings) = Folder::open(path)?;
            (Some(folder), kept, warnings)
        }
        None => (None, Kept::default(), Vec::new()),
    };
    let refused = |source| SandboxError::Listen {
        address: options.listen,
        source,
    };
    let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    super::topics::check_configs(&options.configs).map_err(|(_, why)| SandboxError::Config(why))?;
    let limits = Limits {
        max_memory: options.max_memory,
        partitions: options.partitions,
        auto_create: options.auto_create,
        configs: options.configs,
        kept: folder.is_some(),
        advertised: options.advertised,
        seed: options.seed,
    };
    let mut cluster = Cluster::new(limits, kept, now());
    for topic in options.topics {
        if cluster.topics.contains_key(&topic.name) {
            continue;
        }
        let partitions = topic.partitions.unwrap_or(options.partitions);
        let created = cluster.create_topic(&topic.name, partitions, topic.configs, false, now());
        created.map_err(|(_, why)| SandboxError::Topic {
            name: topic.name,
            why,
        })?;
    }
    let (inbox, inputs) = mpsc::channel(INBOX);
    let mut owner = Owner {
        cluster,
        folder,
        answers: HashMap::new(),
    };
    // What was recovered and created is kept before the first client comes.
    owner.cluster.tick(now());
    owner.act()?;
    Ok(Running {
        address,
        inbox: inbox.clone(),
        owner: tokio::spawn(owner.run(inputs)),
        listener: tokio::spawn(accept(listener, inbox)),
        warnings,
    })
}

/// The one that owns the cluster.
struct Owner {
    cluster: Cluster,
    folder: Option<Folder>,
    answers: HashMap<u64, oneshot::Sender<Outcome>>,
}

impl Owner {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) -> Result<(), SandboxError> {
        loop {
            let due = self.cluster.next_event();
            let wait =
                due.map(|at| clock::now() + Duration::from_millis(at.saturating_sub(clock::mono_millis())));
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return Ok(()),
                },
                () = clock::sleep_until(wait) => {}
            }
            let now = now();
            // Also behind a request: a stream of them must not hold up what is due.
            if self.cluster.next_event().is_some_and(|at| at <= now.mono) {
                self.cluster.tick(now);
            }
            self.act()?;
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Request {
                ticket,
                client,
                frame,
                answer,
            } => {
                self.answers.insert(ticket, answer);
                self.cluster.handle(ticket, &client, frame, now());
            }
            Input::HangUp(ticket) => {
                self.answers.remove(&ticket);
                self.cluster.hang_up(ticket);
            }
            Input::Control(line, answer) => {
                let reply = self.cluster.control(&line, now());
                // Whoever asked may have gone.
                let _ = answer.send(reply);
                self.cluster.tick(now());
            }
        }
    }

    fn act(&mut self) -> Result<(), SandboxError> {
        while let Some(action) = self.cluster.next_action() {
            let (ticket, outcome) = match action {
                Action::Keep(keep) => {
                    if let Some(folder) = &mut self.folder {
                        folder.write(keep)?;
                    }
                    continue;
                }
                Action::Reply { ticket, pieces, mute } => (ticket, Outcome::Reply { pieces, mute }),
                Action::Silence(ticket) => (ticket, Outcome::Nothing),
                Action::Close(ticket) => (ticket, Outcome::Close),
            };
            if let Some(answer) = self.answers.remove(&ticket) {
                // A connection that is gone needs none.
                let _ = answer.send(outcome);
            }
        }
        Ok(())
    }
}

async fn accept(listener: TcpListener, inbox: mpsc::Sender<Input>) {
    let tickets = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    // With the listener its connections go.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let (inbox, tickets) = (inbox.clone(), tickets.clone());
                    connections.spawn(async move {
                        if let Err(error) = serve(stream, from, &inbox, &tickets).await {
                            tracing::debug!(%from, %error, "a connection has broken");
                        }
                    });
                }
                // Too many open files, most likely: some will be closed.
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One request after the other, as Kafka does it: the next one is not begun before the last one is answered.
async fn serve(
    mut stream: TcpStream,
    from: SocketAddr,
    inbox: &mpsc::Sender<Input>,
    tickets: &std::sync::atomic::AtomicU64,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let reached = stream.local_addr()?;
    let client = Client {
        host: from.ip().to_string(),
        reached: (reached.ip().to_string(), reached.port()),
    };
    loop {
        let mut head = [0; 4];
        if stream.read(&mut head[..1]).await? == 0 {
            return Ok(());
        }
        if head[0] >= b' ' {
            return command(stream, head[0], inbox).await;
        }
        stream.read_exact(&mut head[1..]).await?;
        let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
        if length > MAX_REQUEST {
            tracing::warn!(%from, length, "a request is longer than {MAX_REQUEST} bytes");
            return Ok(());
        }
        let mut frame = BytesMut::with_capacity(length);
        while frame.len() < length {
            let left = u64::try_from(length - frame.len()).unwrap_or(0);
            if (&mut stream).take(left).read_buf(&mut frame).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let ticket = tickets.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let input = Input::Request {
            ticket,
            client: client.clone(),
            frame,
            answer,
        };
        if inbox.send(input).await.is_err() {
            return Ok(());
        }
        let outcome = tokio::select! {
            outcome = answered => outcome.ok(),
            () = gone(&stream) => {
                // The cluster may have ended, which is as good.
                let _ = inbox.send(Input::HangUp(ticket)).await;
                return Ok(());
            }
        };
        match outcome {
            Some(Outcome::Reply { pieces, mute }) => {
                write(&mut stream, pieces.into()).await?;
                if mute > 0 {
                    tokio::time::sleep(Duration::from_millis(mute)).await;
                }
            }
            Some(Outcome::Nothing) => {}
            Some(Outcome::Close) | None => return Ok(()),
        }
    }
}

/// Waits until the other end has closed the connection; for ever, if it has sent its next request instead.
async fn gone(stream: &TcpStream) {
    if let Ok(1..) = stream.peek(&mut [0]).await {
        std::future::pending::<()>().await;
    }
}

async fn write(stream: &mut TcpStream, mut pieces: VecDeque<Bytes>) -> io::Result<()> {
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> = pieces
            .iter()
            .take(PIECES)
            .map(|piece| IoSlice::new(piece))
            .collect();
        let mut written = stream.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = pieces.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            pieces.pop_front();
        }
    }
    Ok(())
}

/// A line of control, whose first byte was read, and its answer; then the connection is closed.
async fn command(mut stream: TcpStream, first: u8, inbox: &mpsc::Sender<Input>) -> io::Result<()> {
    let mut line = vec![first];
    while !line.contains(&b'\n') && line.len() < MAX_LINE {
        if stream.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    let (answer, answered) = oneshot::channel();
    if inbox.send(Input::Control(line, answer)).await.is_ok()
        && let Ok(mut reply) = answered.await
    {
        reply.push('\n');
        stream.write_all(reply.as_bytes()).await?;
    }
    Ok(())
}
