//! `consume --group` with a handler: `--http`, `--exec`, `--exec-each`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::layers::Origin;
use super::{Settings, Usage, choice, values, wrong};
use crate::app::IdFrom;
use crate::dead_letter::headers::Families;
use crate::delivery::{self, Concurrency, Dedup, Order};
use crate::handler::headers::Forward;
use crate::handler::outcome::{Dialect, Rules};
use crate::handler::target::Target;
use crate::handler::{command, credentials, http, process, worker};

/// Settings that need a handler.
const ONLY_WITH: [&str; 30] = [
    "concurrency",
    "order",
    "retry",
    "backoff",
    "hold-for",
    "commit",
    "handler-timeout",
    "timeout-grace",
    "on-timeout",
    "retry-after-max",
    "on",
    "dialect",
    "dedup",
    "dedup-id",
    "dedup-window",
    "max-rate",
    "max-event",
    "ready-url",
    "http-ca",
    "http-cert",
    "http-key",
    "http-auth-file",
    "forward-headers",
    "workers",
    "worker-inflight",
    "dlq-headers",
    "dlq-create",
    "http",
    "exec",
    "exec-each",
];
/// What an id of a window may take, in bytes: some more than it does, for those that are unfinished.
const ID: u64 = 48;
/// Room for bodies that ids leave at least, in bytes.
const LEAST_ROOM: u64 = 16 << 20;
/// Settings of printing, which a handler does instead.
const PRINTING: [&str; 8] = [
    "print",
    "json",
    "delimiter",
    "key-delimiter",
    "null",
    "key-filter",
    "count",
    "unbuffered",
];

/// What is done with each event.
#[derive(Debug, Clone)]
pub struct HandleSettings {
    /// Who gets it.
    pub handler: HandlerKind,
    /// In which order, how often and how long.
    pub delivery: delivery::Settings,
    /// Events a second of the whole group.
    pub max_rate: Option<NonZeroU32>,
    /// What the ids are by which duplicates are dropped, if they are.
    pub dedup_id: IdFrom,
    /// The largest event that the handler gets, in bytes.
    pub max_event: Option<u32>,
    /// Whose dead-letter headers are written beside ours.
    pub families: Families,
    /// Whether a missing topic of dead letters is created.
    pub create: bool,
}

/// Who gets the events.
#[derive(Debug, Clone)]
pub enum HandlerKind {
    /// `--http`
    Http(Box<http::Settings>),
    /// `--exec`
    Worker(worker::Settings),
    /// `--exec-each`
    Command(command::Settings),
}

impl Settings {
    /// What to do with events, if not to print them.
    pub(super) fn handling(&self, in_group: bool) -> Result<Option<HandleSettings>, Usage> {
        let by_flag = |name: &&&str| {
            self.find(name)
                .is_some_and(|given| matches!(given.origin, Origin::Flag(_)))
        };
        let handlers: Vec<&str> = ["http", "exec", "exec-each"]
            .into_iter()
            .filter(|name| self.given(name))
            .collect();
        let handler = match handlers.as_slice() {
            [] => {
                return match ONLY_WITH.iter().find(by_flag) {
                    Some(name) => {
                        Err(self.wrong(name, "this is for handlers: give --http, --exec or --exec-each"))
                    }
                    None => Ok(None),
                };
            }
            [one] => *one,
            [one, other, ..] => {
                return Err(self.wrong(one, &format!("this and --{other} exclude each other")));
            }
        };
        if !in_group {
            return Err(self.wrong(handler, "a handler is for members of a group: give --group NAME"));
        }
        if let Some(name) = PRINTING.iter().find(by_flag) {
            return Err(self.wrong(
                name,
                &format!("this and --{handler} exclude each other: nothing is printed"),
            ));
        }
        if let Some(name) = ["dedup-id", "dedup-window"].iter().find(by_flag)
            && !self.switch("dedup")?
        {
            return Err(self.wrong(name, "this is for --dedup, which is not given"));
        }
        let words = |name: &'static str| self.must(name, |text| process::split(text).map_err(wrong));
        let kind = match handler {
            "exec" => HandlerKind::Worker(worker::Settings {
                command: words("exec")?,
                workers: self.must("workers", many)?,
                inflight: self.must("worker-inflight", many)?,
            }),
            "exec-each" => HandlerKind::Command(command::Settings {
                command: words("exec-each")?,
                at_once: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            }),
            _ => HandlerKind::Http(Box::new(self.http()?)),
        };
        Ok(Some(HandleSettings {
            delivery: self.delivery(&kind)?,
            handler: kind,
            max_rate: self.maybe("max-rate", positive)?,
            dedup_id: self.must("dedup-id", IdFrom::parse)?,
            max_event: self.maybe("max-event", |text| {
                let bytes = values::bytes(text)?;
                u32::try_from(bytes).map_err(|_| "is larger than any event".to_owned())
            })?,
            families: self.maybe("dlq-headers", Families::read)?.unwrap_or_default(),
            create: self.must("dlq-create", |text| {
                choice(text, &[("true", true), ("false", false)])
            })?,
        }))
    }

    fn http(&self) -> Result<http::Settings, Usage> {
        let target = |text: &str| Target::parse(text).map_err(wrong);
        let path = |name: &str| self.text(name).map(PathBuf::from);
        let forward = self.list("forward-headers").join(",");
        let names = forward.split(',').map(str::trim).filter(|name| !name.is_empty());
        let dialect = self.must("dialect", |text| {
            choice(text, &[("plain", Dialect::Plain), ("dapr", Dialect::Dapr)])
        })?;
        Ok(http::Settings {
            ready: self.maybe("ready-url", target)?,
            tls: crate::broker::settings::TlsSettings {
                ca: path("http-ca"),
                certificate: path("http-cert"),
                key: path("http-key"),
                system_ca: self.environment.get("SSL_CERT_FILE").map(PathBuf::from),
                ..Default::default()
            },
            credentials: path("http-auth-file").map(|file| credentials::Source {
                file,
                scheme: credentials::Scheme::Bearer,
            }),
            forward: Forward::new(names).map_err(|why| self.wrong("forward-headers", &why.to_string()))?,
            rules: Rules::parse(&self.list("on").join(","), dialect)
                .map_err(|why| self.wrong("on", &why.to_string()))?,
            on_timeout: self.must("on-timeout", |text| {
                choice(
                    text,
                    &[("lost", http::OnTimeout::Lost), ("wait", http::OnTimeout::Wait)],
                )
            })?,
            ..http::Settings::new(self.must("http", target)?)
        })
    }

    fn delivery(&self, kind: &HandlerKind) -> Result<delivery::Settings, Usage> {
        let millis = |name: &'static str| self.must(name, values::duration).map(as_millis);
        let (backoff_first, backoff_longest) = self.must("backoff", backoff)?;
        let dedup = if self.switch("dedup")? {
            let window = self.must("dedup-window", window)?;
            Some(window)
        } else {
            None
        };
        Ok(delivery::Settings {
            order: self.must("order", |text| {
                choice(
                    text,
                    &[
                        ("key", Order::Key),
                        ("partition", Order::Partition),
                        ("none", Order::None),
                    ],
                )
            })?,
            concurrency: match (self.given("concurrency"), kind) {
                // As many as have room: what waits for a process would run into its time limit.
                (false, HandlerKind::Worker(settings)) => {
                    at_once(settings.workers.get().saturating_mul(settings.inflight.get()))
                }
                (false, HandlerKind::Command(settings)) => at_once(settings.at_once.get()),
                _ => self.must("concurrency", |text| match text {
                    "auto" => Ok(Concurrency::Auto),
                    number => positive(number).map(Concurrency::Fixed),
                })?,
            },
            retries: self.must("retry", positive)?,
            backoff_first,
            backoff_longest,
            hold_for: millis("hold-for")?,
            timeout: millis("handler-timeout")?,
            timeout_grace: millis("timeout-grace")?,
            retry_after_max: millis("retry-after-max")?,
            commit_each: self.must("commit", |text| {
                choice(text, &[("interval", false), ("each", true)])
            })?,
            dedup,
            max_buffer: beside_ids(delivery::Settings::default().max_buffer, dedup),
            ..delivery::Settings::default()
        })
    }
}

fn positive(text: &str) -> Result<NonZeroU32, String> {
    text.parse()
        .map_err(|_| format!("is not a number from 1 to {}", u32::MAX))
}

fn many(text: &str) -> Result<NonZeroUsize, String> {
    let number = positive(text)?;
    NonZeroUsize::try_from(number).map_err(|_| "is too many".to_owned())
}

fn at_once(number: usize) -> Concurrency {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    Concurrency::Fixed(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN))
}

fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `500ms..1m`: the first and the longest.
fn backoff(text: &str) -> Result<(u64, u64), String> {
    let (first, longest) = text.split_once("..").ok_or("is not a range such as 500ms..1m")?;
    let (first, longest) = (values::duration(first)?, values::duration(longest)?);
    if first.is_zero() || first > longest {
        return Err("is not a range such as 500ms..1m".to_owned());
    }
    Ok((as_millis(first), as_millis(longest)))
}

/// What ids leave of the room for bodies: a window costs time at a take-over, not more memory.
fn beside_ids(room: u64, dedup: Option<Dedup>) -> u64 {
    let ids = dedup.map_or(0, |dedup| u64::try_from(dedup.ids).unwrap_or(u64::MAX));
    room.saturating_sub(ids.saturating_mul(ID)).max(LEAST_ROOM)
}

/// `1h`, `1000000` ids, or both with a comma.
fn window(text: &str) -> Result<Dedup, String> {
    let mut dedup = Dedup {
        ids: 1_000_000,
        window: 3_600_000,
    };
    for part in text.split(',').map(str::trim) {
        match part.parse::<usize>() {
            Ok(ids) if ids > 0 => dedup.ids = ids,
            Ok(_) => return Err("needs at least one id".to_owned()),
            Err(_) => dedup.window = as_millis(values::duration(part)?),
        }
    }
    Ok(dedup)
}
