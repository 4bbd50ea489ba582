//! `--exec-each`: a process per event. Data on stdin, attributes in the environment, the exit code is the answer.

use std::ffi::OsString;
use std::future::Future;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::sync::Semaphore;

use super::process::{self, Process, Tail};
use super::{Answer, Delivery, Outcome, Sign, bounded};
use crate::clock;
use crate::event::Event;

/// Names and values of variables together, in bytes.
pub const MAX_VARIABLES: usize = 64 << 10;

/// What a process that has ended has left in its pipes is read for so long at most: something that it started may hold them.
const DRAIN_LIMIT: Duration = Duration::from_millis(250);

/// How commands are run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program and its arguments (`--exec-each`, split by [`process::split`]).
    pub command: Vec<String>,
    /// Processes at once: as many as cores.
    pub at_once: NonZeroUsize,
}

/// Runs commands; clones share the limit of how many at once.
#[derive(Clone)]
pub struct Commands {
    words: Arc<[String]>,
    room: Arc<Semaphore>,
}

/// An event that cannot be put into variables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum VariablesError {
    #[error("the event's attributes and key take {0} bytes, over the {MAX_VARIABLES} for variables")]
    TooLarge(usize),
    #[error("the event's `{0}` holds a zero byte, which no variable can")]
    Zero(String),
}

impl Commands {
    /// None runs yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            words: settings.command.into(),
            room: Arc::new(Semaphore::new(settings.at_once.get())),
        }
    }

    /// Runs the command for one event. When it is cancelled, or does not end in time, its group is killed and it is reaped
    /// before this returns. Dropping the future kills it, too.
    pub async fn run(self, delivery: Delivery, cancel: impl Future<Output = ()> + Send) -> Answer {
        let deadline = clock::now() + delivery.deadline;
        let mut cancel = std::pin::pin!(cancel);
        let _room = tokio::select! {
            room = self.room.acquire() => room,
            () = &mut cancel => return Answer::without(Outcome::Aborted, "cancelled"),
            () = clock::sleep_until(Some(deadline)) => {
                return Answer::without(Outcome::Aborted, "no command could be started in time");
            }
        };
        let event = match delivery.event() {
            Ok(event) => event,
            Err(error) => return Answer::without(Outcome::Reject, error.to_string()),
        };
        let variables = match variables(&delivery, &event) {
            Ok(variables) => variables,
            Err(error) => return Answer::without(Outcome::Reject, error.to_string()),
        };
        let spawned = process::spawn(&self.words, |command: &mut Command| {
            command.envs(variables);
        });
        let Process {
            mut child,
            stdin,
            mut stdout,
            mut stderr,
            mut group,
        } = match spawned {
            Ok(process) => process,
            Err(error) => {
                let program = self.words.first().map_or("", String::as_str);
                return Answer::without(Outcome::Hold, format!("cannot start `{program}`: {error}"));
            }
        };
        let (mut out, mut err) = (Tail::default(), Tail::default());
        let mut talk = Box::pin(async {
            tokio::join!(
                feed(stdin, event.data.as_deref()),
                drain(&mut stdout, &mut out),
                drain(&mut stderr, &mut err)
            )
        });
        let mut talked = false;
        let ended = loop {
            tokio::select! {
                status = child.wait() => break Ok(status),
                _ = &mut talk, if !talked => talked = true,
                () = &mut cancel => break Err(Outcome::Aborted),
                () = clock::sleep_until(Some(deadline)) => break Err(Outcome::Lost { reaped: true }),
            }
        };
        match &ended {
            // What it has left behind on purpose may stay.
            Ok(_) => group.release(),
            Err(_) => {
                group.kill();
                let _ = child.wait().await;
            }
        }
        if !talked {
            let _ = tokio::time::timeout(DRAIN_LIMIT, talk.as_mut()).await;
        }
        drop(talk);
        let said = match (err.text(), out.text()) {
            (err, out) if err.is_empty() => out,
            (err, _) => err,
        };
        let (outcome, status) = match ended {
            Ok(Ok(status)) => (meaning(status), process::ended(status)),
            Ok(Err(error)) => (Outcome::Lost { reaped: false }, error.to_string()),
            Err(outcome @ Outcome::Aborted) => (outcome, "cancelled".to_owned()),
            Err(outcome) => (outcome, "not ended in time: killed".to_owned()),
        };
        if outcome == Outcome::Done {
            return Answer::done();
        }
        let excerpt = if said.is_empty() {
            status.clone()
        } else {
            format!("{status}: {said}")
        };
        Answer {
            outcome,
            status: Some(status.into()),
            excerpt: bounded(excerpt),
        }
    }
}

/// As in kcat's and procmail's world (sysexits.h): 75 is "temporary failure", 65 "data format error"; 126 and 127 are a shell's own.
fn meaning(status: ExitStatus) -> Outcome {
    match status.code() {
        Some(0) => Outcome::Done,
        Some(65) => Outcome::Reject,
        Some(126 | 127) => Outcome::Hold,
        Some(_) => Outcome::retry(Sign::Own),
        None => Outcome::Lost { reaped: true },
    }
}

/// Writes the data and closes the pipe. Not to read it is no error.
async fn feed(mut stdin: ChildStdin, data: Option<&[u8]>) {
    if let Some(data) = data {
        let _ = stdin.write_all(data).await;
    }
}

async fn drain(pipe: &mut (impl AsyncRead + Unpin), tail: &mut Tail) {
    let mut read = [0; 4096];
    while let Ok(n) = pipe.read(&mut read).await {
        if n == 0 {
            break;
        }
        tail.push(&read[..n]);
    }
}

/// `CE_ID` and so on; their names begin with `CE_` and hold `[A-Z0-9]`: an event can set no other variable. `BARNABAS_*` are ours.
fn variables(delivery: &Delivery, event: &Event<'_>) -> Result<Vec<(String, OsString)>, VariablesError> {
    let mut all: Vec<(String, &[u8])> = Vec::new();
    for (name, value) in &event.attributes {
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        all.push((format!("CE_{name}"), value));
    }
    if let Some(value) = &event.content_type {
        all.push(("CE_DATACONTENTTYPE".to_owned(), value));
    }
    if let Some(key) = delivery.record.key() {
        all.push(("BARNABAS_KEY".to_owned(), key));
    }
    let size = all.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if size > MAX_VARIABLES {
        return Err(VariablesError::TooLarge(size));
    }
    if let Some((name, _)) = all.iter().find(|(_, value)| value.contains(&0)) {
        return Err(VariablesError::Zero(name.clone()));
    }
    let from_record = all
        .into_iter()
        .map(|(name, value)| (name, OsString::from_vec(value.to_vec())));
    let mut ours = vec![
        ("BARNABAS_TOPIC", delivery.topic.to_string()),
        ("BARNABAS_PARTITION", delivery.partition.to_string()),
        ("BARNABAS_OFFSET", delivery.offset.to_string()),
        ("BARNABAS_ATTEMPT", delivery.attempt.to_string()),
        ("BARNABAS_DEADLINE_MS", delivery.deadline.as_millis().to_string()),
        ("BARNABAS_FENCE", delivery.fence()),
        (
            "BARNABAS_IDEMPOTENCY_KEY",
            delivery.idempotency_key(event).to_string(),
        ),
    ];
    if delivery.redelivered {
        ours.push(("BARNABAS_REDELIVERED", "maybe".to_owned()));
    }
    if event.data.is_none() {
        ours.push(("BARNABAS_TOMBSTONE", "true".to_owned()));
    }
    if let Some(origin) = &delivery.origin {
        ours.push(("BARNABAS_REPLAY", origin.replays.to_string()));
    }
    let ours = ours
        .into_iter()
        .map(|(name, value)| (name.to_owned(), OsString::from(value)));
    Ok(from_record.chain(ours).collect())
}

#[cfg(test)]
mod tests;
