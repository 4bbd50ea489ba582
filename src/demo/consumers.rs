//! The consumers: processes of this very program, `barnabas consume --group … --http …`, which end with the demo however
//! that ends.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Lines of each consumer's talk that are kept.
const MAX_LINES: usize = 40;
/// News that wait to be looked at.
const INBOX: usize = 256;

/// What happened with a consumer.
#[derive(Debug)]
pub enum News {
    /// It said this on standard error.
    Said(usize, String),
    /// Its process has ended.
    Ended(usize, ExitStatus),
    /// It cannot be waited for.
    Failed(usize, io::Error),
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Kill,
    Terminate,
}

/// A consumer's process.
#[derive(Debug)]
struct Consumer {
    pid: u32,
    orders: mpsc::Sender<Order>,
    alive: bool,
    tail: VecDeque<String>,
}

/// All of them. Dropping it kills those that run.
#[derive(Debug)]
pub struct Consumers {
    all: Vec<Consumer>,
    tell: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    /// Dropping it kills the processes.
    tasks: JoinSet<()>,
}

impl Default for Consumers {
    fn default() -> Self {
        let (tell, news) = mpsc::channel(INBOX);
        Self {
            all: Vec::new(),
            tell,
            news,
            tasks: JoinSet::new(),
        }
    }
}

impl Consumers {
    /// Starts the next one, as `barnabas` with these arguments. Gives its process id.
    ///
    /// # Errors
    /// The system starts no process, or does not tell which file this program is.
    pub fn start(&mut self, args: &[String]) -> io::Result<u32> {
        let index = self.all.len();
        let mut command = Command::new(this_program()?);
        command
            .arg0("barnabas")
            .args(["demo", "consumer", &std::process::id().to_string(), "--"])
            .args(args)
            // No setting of the user's is meant for these.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal is for the demo, which ends them.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let pid = child.id().unwrap_or(0);
        let stderr = child.stderr.take();
        let (orders, ordered) = mpsc::channel(2);
        self.tasks
            .spawn(attend(index, child, stderr, ordered, self.tell.clone()));
        self.all.push(Consumer {
            pid,
            orders,
            alive: true,
            tail: VecDeque::new(),
        });
        Ok(pid)
    }

    /// What happened next.
    pub async fn next(&mut self) -> News {
        let Some(news) = self.news.recv().await else {
            // Not while this holds a sender.
            return std::future::pending().await;
        };
        match &news {
            News::Said(index, line) => {
                if let Some(consumer) = self.all.get_mut(*index) {
                    if consumer.tail.len() == MAX_LINES {
                        consumer.tail.pop_front();
                    }
                    consumer.tail.push_back(line.clone());
                }
            }
            News::Ended(index, _) | News::Failed(index, _) => {
                if let Some(consumer) = self.all.get_mut(*index) {
                    consumer.alive = false;
                }
            }
        }
        news
    }

    /// SIGKILL.
    pub async fn kill(&self, index: usize) {
        self.order(index, Order::Kill).await;
    }

    /// SIGTERM to all that run.
    pub async fn terminate(&self) {
        for index in 0..self.all.len() {
            self.order(index, Order::Terminate).await;
        }
    }

    async fn order(&self, index: usize, order: Order) {
        if let Some(consumer) = self.all.get(index).filter(|consumer| consumer.alive) {
            // It may have ended just now, which is as good.
            let _ = consumer.orders.send(order).await;
        }
    }

    /// How many were started.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether none was started yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a process runs.
    #[must_use]
    pub fn is_alive(&self, index: usize) -> bool {
        self.all.get(index).is_some_and(|consumer| consumer.alive)
    }

    /// Whose process this is.
    #[must_use]
    pub fn by_pid(&self, pid: u32) -> Option<usize> {
        self.all.iter().position(|consumer| consumer.pid == pid)
    }

    /// The last lines that a consumer said.
    pub fn tail(&self, index: usize) -> impl Iterator<Item = &str> {
        let tail = self.all.get(index).map(|consumer| consumer.tail.iter());
        tail.into_iter().flatten().map(String::as_str)
    }
}

/// Reads what a process says, and waits for its end.
async fn attend(
    index: usize,
    mut child: Child,
    stderr: Option<ChildStderr>,
    mut ordered: mpsc::Receiver<Order>,
    tell: mpsc::Sender<News>,
) {
    let mut lines = stderr.map(|stderr| BufReader::new(stderr).lines());
    let ended = loop {
        tokio::select! {
            biased;
            Some(order) = ordered.recv() => signal(&mut child, order),
            line = line(&mut lines) => match line {
                Some(line) => drop(tell.send(News::Said(index, line)).await),
                None => lines = None,
            },
            ended = child.wait() => break ended,
        }
    };
    while lines.is_some() {
        match line(&mut lines).await {
            Some(line) => drop(tell.send(News::Said(index, line)).await),
            None => lines = None,
        }
    }
    let news = match ended {
        Ok(status) => News::Ended(index, status),
        Err(error) => News::Failed(index, error),
    };
    // Nobody listens any more when the demo ends.
    let _ = tell.send(news).await;
}

/// The next line; for ever, if nothing is read any more.
async fn line(lines: &mut Option<Lines<BufReader<ChildStderr>>>) -> Option<String> {
    match lines {
        Some(lines) => lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

fn signal(child: &mut Child, order: Order) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let Some(pid) = pid else {
        // It was waited for: it has ended.
        return;
    };
    let signal = match order {
        Order::Kill => Signal::KILL,
        Order::Terminate => Signal::TERM,
    };
    if let Err(error) = kill_process(pid, signal) {
        tracing::debug!(%error, "a consumer cannot be signalled");
    }
}

/// The file that this program was started from, by its path or, where another file has taken its place, as the system
/// keeps it.
fn this_program() -> io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    let path = std::env::current_exe()?;
    let file = |path: &PathBuf| std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
    match (file(&path), file(&running)) {
        (Ok(there), Ok(ours)) if there == ours => Ok(path),
        (_, Ok(_)) => Ok(running),
        (Ok(_), Err(_)) => Ok(path),
        (Err(error), Err(_)) => Err(error),
    }
}

/// Becomes a consumer: what `barnabas demo consumer PARENT -- ARGS…` does. The system kills it when the demo's process
/// ends, in whichever way: without a broker it would go on for ever. Returns only if it cannot.
///
/// # Errors
/// The parent has ended already, or the system refuses.
pub fn become_one(parent: u32, args: &[OsString]) -> io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // It may have ended before that.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != i32::try_from(parent).ok() {
        return io::Error::other("the demo that started this consumer has ended");
    }
    match this_program() {
        Ok(program) => std::process::Command::new(program)
            .arg0("barnabas")
            .args(args)
            .exec(),
        Err(error) => error,
    }
}
