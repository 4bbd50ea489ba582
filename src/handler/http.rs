//! `--http`: a POST per event.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::answer::Answered;
use super::connect::{self, Broken, Data, Link, Post};
use super::credentials::{self, Credentials, CredentialsError};
use super::headers::{self, Forward, Head};
use super::outcome::{Rules, Said};
use super::pool::Pool;
use super::target::{Endpoint, Target};
use super::{Answer, Delivery, Outcome};
use crate::broker::error::TlsSettingsError;
use crate::broker::settings::TlsSettings;
use crate::broker::tls::{self, TlsConnector};
use crate::clock;

/// What is shown of an answer's body, in bytes.
const BODY_EXCERPT: usize = 1024;

/// Data of so many bytes at most are copied behind the head: one piece is written faster than two.
const SMALL: usize = 8 << 10;

/// The longest path with its query, in bytes: what common servers take at most.
const MAX_PATH: usize = 64 << 10;

/// A reused connection that breaks within this time was being closed while it was idle; later, the handler had the event.
const STALE: Duration = Duration::from_secs(1);

/// For `--ready-url` to answer.
const READY_LIMIT: Duration = Duration::from_secs(5);

/// Between two looks whether the handler is ready.
const READY_EVERY: Duration = Duration::from_millis(250);

/// What the settings of TLS are called here.
static NAMES: tls::Names = tls::Names {
    ca: "--http-ca",
    certificate: "--http-cert",
    key: "--http-key",
};

/// What happens when an answer is not there in time (`--on-timeout`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// The connection is closed; the handler may still be at work.
    #[default]
    Lost,
    /// The answer is waited for as long as the connection lives: never two at once.
    Wait,
}

/// How events are posted.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to (`--http`).
    pub target: Target,
    /// Answers a GET with 2xx when the handler is ready (`--ready-url`); without it, the handler is ready when it accepts connections.
    pub ready: Option<Target>,
    /// Authorities and client certificate for https (`--http-ca`, `--http-cert`, `--http-key`).
    pub tls: TlsSettings,
    /// What `Authorization` says.
    pub credentials: Option<credentials::Source>,
    /// Headers of the record that are passed on (`--forward-headers`).
    pub forward: Forward,
    /// What answers mean (`--on`, `--dialect`).
    pub rules: Rules,
    /// What happens when an answer is not there in time (`--on-timeout`).
    pub on_timeout: OnTimeout,
}

impl Settings {
    /// Events to a target, all else as by default.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            target,
            ready: None,
            tls: TlsSettings::default(),
            credentials: None,
            forward: Forward::default(),
            rules: Rules::default(),
            on_timeout: OnTimeout::Lost,
        }
    }
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Authorities or client certificate.
    #[error("TLS for --http cannot be set up")]
    Tls(#[from] TlsSettingsError),
    /// The credentials' file.
    #[error("the credentials for --http cannot be used")]
    Credentials(#[from] CredentialsError),
    /// Credentials over plain HTTP.
    #[error(
        "credentials would go to {0} unencrypted: use https (plain http only to this machine or a Unix socket)"
    )]
    Exposed(String),
    /// A ready URL that depends on the event.
    #[error("--ready-url must not hold values of events")]
    Ready,
}

/// A target for events; clones share its connections.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    settings: Settings,
    tls: Option<TlsConnector>,
    credentials: Option<Credentials>,
    pool: Pool,
    /// What all requests begin with, if their path is fixed.
    start: Head,
}

impl Http {
    /// Reads the files that the settings name, and blocks while it does.
    ///
    /// # Errors
    /// If one cannot be used, or credentials would be exposed.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let is_tls = |target: &Target| matches!(target.endpoint, Endpoint::Tcp { tls: true, .. });
        let ready = settings.ready.as_ref();
        if ready.is_some_and(|ready| !ready.is_fixed()) {
            return Err(SettingsError::Ready);
        }
        if settings.credentials.is_some() && settings.target.is_exposed() {
            return Err(SettingsError::Exposed(settings.target.authority.clone()));
        }
        let tls = if is_tls(&settings.target) || ready.is_some_and(is_tls) {
            Some(TlsConnector::prepare_named(&settings.tls, &NAMES)?)
        } else {
            None
        };
        let source = settings.credentials.clone();
        let credentials = source.map(|source| Credentials::read(source, clock::now()));
        Ok(Self(Arc::new(Inner {
            tls,
            credentials: credentials.transpose()?,
            pool: Pool::default(),
            start: Head::new("POST", settings.target.fixed_path(), &settings.target.authority),
            settings,
        })))
    }

    /// Returns when the handler is ready, however long that takes. Why it is not yet goes to the log, when that changes.
    pub async fn ready(&self) {
        let mut said = String::new();
        while let Err(why) = self.0.check().await {
            if why != said {
                tracing::info!("waiting for the handler: {why}");
                said = why;
            }
            clock::sleep_until(Some(clock::now() + READY_EVERY)).await;
        }
    }

    /// Posts one event. Cancelling, or dropping the future, closes the connection.
    pub fn run<C>(self, delivery: Delivery, cancel: C) -> impl Future<Output = Answer> + Send + use<C>
    where
        C: Future<Output = ()> + Send,
    {
        // Of the delivery nothing is needed any more then, which keeps the future small.
        let (request, deadline) = (self.0.request(&delivery), delivery.deadline);
        drop(delivery);
        async move {
            let request = match request {
                Ok(request) => request,
                Err(why) => return Answer::without(Outcome::Reject, why),
            };
            tokio::select! {
                biased;
                answer = self.0.within(deadline, &request) => answer,
                () = cancel => Answer::without(Outcome::Aborted, "cancelled"),
            }
        }
    }

    /// Closes the idle connections.
    pub fn stop(&self) {
        self.0.pool.clear();
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.0.pool.len()
    }
}

impl Inner {
    /// The request for an event, or why there can be none.
    fn request(&self, delivery: &Delivery) -> Result<Post, String> {
        let event = delivery.event().map_err(|error| error.to_string())?;
        let target = &self.settings.target;
        let path = target.path(delivery, &event).map_err(|error| error.to_string())?;
        if path.len() > MAX_PATH {
            return Err(format!(
                "the event's path has {} bytes, over the {MAX_PATH} that are sent",
                path.len()
            ));
        }
        // Also where there is no data: some servers wait for a body otherwise.
        let len = event.data.as_ref().map_or(0, |data| data.len());
        let behind = if len <= SMALL { len } else { 0 };
        let mut head = match &path {
            Cow::Borrowed(_) => self.start.again(behind),
            Cow::Owned(path) => Head::new("POST", path, &target.authority).again(behind),
        };
        headers::add(&mut head, delivery, &event, &self.settings.forward)
            .map_err(|error| error.to_string())?;
        if let Some(credentials) = &self.credentials {
            head.add("authorization", credentials.get(clock::now()).as_bytes());
        }
        head.content_length(len);
        let mut head = head.end();
        let data = match event.data {
            Some(data) if data.len() <= SMALL => {
                head.extend_from_slice(&data);
                None
            }
            // In binary mode the data is the value.
            Some(Cow::Borrowed(data))
                if delivery
                    .record
                    .value()
                    .is_some_and(|value| std::ptr::eq(value, data)) =>
            {
                Some(Data::Value(Arc::clone(&delivery.record)))
            }
            Some(data) => Some(Data::Own(data.into_owned())),
            None => None,
        };
        Ok(Post { head, data })
    }

    /// The answer, or that there was none in time.
    async fn within(&self, deadline: Duration, request: &Post) -> Answer {
        let connected = AtomicBool::new(false);
        let exchange = self.exchange(request, &connected);
        if self.settings.on_timeout == OnTimeout::Wait {
            return exchange.await;
        }
        tokio::time::timeout(deadline, exchange)
            .await
            .unwrap_or_else(|_| {
                let limit = deadline.as_secs_f64();
                if connected.load(Ordering::Relaxed) {
                    let why = format!("no whole answer within {limit} s");
                    Answer::without(Outcome::Lost { reaped: false }, why)
                } else {
                    Answer::without(Outcome::Hold, format!("no connection within {limit} s"))
                }
            })
    }

    /// `connected` becomes true when the request is on its way.
    async fn exchange(&self, request: &Post, connected: &AtomicBool) -> Answer {
        let began = clock::now();
        let Some(mut link) = self.pool.take(began).await else {
            return Box::pin(self.first(request, connected)).await;
        };
        connected.store(true, Ordering::Relaxed);
        match link.exchange(request).await {
            // It was closed while it was idle, and our request met that: repeated once, which is nobody's failure.
            Err(Broken { answered: false, .. }) if began.elapsed() < STALE => {
                drop(link);
                Box::pin(self.first(request, connected)).await
            }
            other => self.answer(link, other),
        }
    }

    /// On a new connection: a large future, which callers box, as it is seldom needed.
    async fn first(&self, request: &Post, connected: &AtomicBool) -> Answer {
        let mut link = match connect::connect(&self.settings.target.endpoint, self.tls.as_ref()).await {
            Ok(link) => Box::new(link),
            Err(error) => return Answer::without(Outcome::Hold, error.to_string()),
        };
        connected.store(true, Ordering::Relaxed);
        let result = link.exchange(request).await;
        self.answer(link, result)
    }

    fn answer(&self, link: Box<Link>, result: Result<Answered, Broken>) -> Answer {
        let said = match result {
            Ok(said) => said,
            Err(Broken {
                written: false,
                error,
                ..
            }) => {
                return Answer::without(Outcome::Hold, format!("the connection broke: {error}"));
            }
            Err(Broken { error, .. }) => {
                return Answer::without(
                    Outcome::Lost { reaped: false },
                    format!("no whole answer: {error}"),
                );
            }
        };
        if said.reusable {
            self.pool.put(link, clock::now());
        }
        // Nothing else goes by the time.
        let waits = said.retry_after.is_some();
        let now = if waits { clock::unix_millis() / 1000 } else { 0 };
        let outcome = self.settings.rules.judge(
            &Said {
                status: said.status,
                outcome: said.outcome.as_deref(),
                retry_after: said.retry_after.as_deref(),
                date: said.date.as_deref(),
                body: &said.body,
            },
            now,
        );
        if outcome == Outcome::Done {
            return Answer::done();
        }
        let mut excerpt = named(said.status);
        if let Some(to) = &said.location {
            excerpt.push_str(" to ");
            excerpt.push_str(&String::from_utf8_lossy(to));
        }
        let shown = String::from_utf8_lossy(&said.body[..said.body.len().min(BODY_EXCERPT)]);
        if !shown.trim().is_empty() {
            excerpt.push_str(": ");
            excerpt.push_str(shown.trim());
        }
        Answer {
            outcome,
            status: Some(said.status.to_string().into()),
            excerpt: super::bounded(excerpt),
        }
    }

    /// Whether the handler is ready; if not, why.
    async fn check(&self) -> Result<(), String> {
        let Some(ready) = &self.settings.ready else {
            let endpoint = &self.settings.target.endpoint;
            let link = connect::connect(endpoint, self.tls.as_ref()).await;
            self.pool
                .put(Box::new(link.map_err(|error| error.to_string())?), clock::now());
            return Ok(());
        };
        let link = connect::connect(&ready.endpoint, self.tls.as_ref()).await;
        let mut link = link.map_err(|error| error.to_string())?;
        let request = Post {
            head: Head::new("GET", ready.fixed_path(), &ready.authority).end(),
            data: None,
        };
        match tokio::time::timeout(READY_LIMIT, link.exchange(&request)).await {
            Err(_) => Err(format!(
                "--ready-url did not answer within {} s",
                READY_LIMIT.as_secs()
            )),
            Ok(Err(broken)) => Err(format!("--ready-url: {}", broken.error)),
            Ok(Ok(said)) if (200..300).contains(&said.status) => Ok(()),
            Ok(Ok(said)) => Err(format!("--ready-url answered {}", named(said.status))),
        }
    }
}

/// A status with its usual name.
fn named(status: u16) -> String {
    match StatusCode::from_u16(status) {
        Ok(status) => status.to_string(),
        Err(_) => status.to_string(),
    }
}

#[cfg(test)]
mod tests;
