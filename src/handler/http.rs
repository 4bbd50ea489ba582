//! `--http`: a POST per event.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};

use super::connect::{self, Broken, Data, Link, Whole};
use super::credentials::{self, Credentials, CredentialsError};
use super::headers::{self, Forward};
use super::outcome::{Rules, Said};
use super::pool::Pool;
use super::target::{Endpoint, Target};
use super::{Answer, Delivery, Outcome};
use crate::broker::error::TlsSettingsError;
use crate::broker::settings::TlsSettings;
use crate::broker::tls::{self, TlsConnector};
use crate::clock;
use crate::event::Event;

/// What is shown of an answer's body, in bytes.
const BODY_EXCERPT: usize = 1024;

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
    host: HeaderValue,
    pool: Pool,
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
        // The parser has seen to it that it is a name or an address.
        let host = HeaderValue::from_str(&settings.target.authority)
            .unwrap_or(HeaderValue::from_static("localhost"));
        Ok(Self(Arc::new(Inner {
            tls,
            credentials: credentials.transpose()?,
            host,
            pool: Pool::default(),
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
    pub async fn run(self, delivery: Delivery, cancel: impl Future<Output = ()> + Send) -> Answer {
        let inner = &*self.0;
        let request = match inner.request(&delivery) {
            Ok(request) => request,
            Err(why) => return Answer::without(Outcome::Reject, why),
        };
        let connected = AtomicBool::new(false);
        let exchange = async {
            match inner.settings.on_timeout {
                OnTimeout::Wait => inner.exchange(&delivery, request, &connected).await,
                OnTimeout::Lost => {
                    let limited = tokio::time::timeout(
                        delivery.deadline,
                        inner.exchange(&delivery, request, &connected),
                    );
                    limited.await.unwrap_or_else(|_| {
                        let limit = delivery.deadline.as_secs_f64();
                        if connected.load(Ordering::Relaxed) {
                            let why = format!("no whole answer within {limit} s");
                            Answer::without(Outcome::Lost { reaped: false }, why)
                        } else {
                            Answer::without(Outcome::Hold, format!("no connection within {limit} s"))
                        }
                    })
                }
            }
        };
        tokio::select! {
            biased;
            answer = exchange => answer,
            () = cancel => Answer::without(Outcome::Aborted, "cancelled"),
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
    fn request(&self, delivery: &Delivery) -> Result<Request<Data>, String> {
        let event: Event = delivery.event().map_err(|error| error.to_string())?;
        let path = self
            .settings
            .target
            .path(delivery, &event)
            .map_err(|error| error.to_string())?;
        let uri = Uri::try_from(path).map_err(|error| format!("the event's path is none: {error}"))?;
        let mut headers = HeaderMap::with_capacity(event.attributes.len() + 16);
        headers.insert(HOST, self.host.clone());
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("barnabas/", env!("CARGO_PKG_VERSION"))),
        );
        headers::add(&mut headers, delivery, &event, &self.settings.forward)
            .map_err(|error| error.to_string())?;
        if let Some(credentials) = &self.credentials {
            headers.insert(AUTHORIZATION, credentials.get(clock::now()));
        }
        // Also where there is no data: some servers wait for a body otherwise.
        let len = event.data.as_ref().map_or(0, bytes::Bytes::len);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        let mut request = Request::new(Data(event.data));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// `connected` becomes true when the request is on its way.
    async fn exchange(&self, delivery: &Delivery, request: Request<Data>, connected: &AtomicBool) -> Answer {
        let began = clock::now();
        let Some(mut link) = self.pool.take(began).await else {
            return self.first(request, connected).await;
        };
        connected.store(true, Ordering::Relaxed);
        match link.exchange(request).await {
            // It was closed while it was idle, and our request met that: repeated once, which is nobody's failure.
            Err(Broken { answered: false, .. }) if began.elapsed() < STALE => {
                drop(link);
                match self.request(delivery) {
                    Ok(request) => self.first(request, connected).await,
                    Err(why) => Answer::without(Outcome::Reject, why),
                }
            }
            other => self.answer(link, other),
        }
    }

    /// On a new connection.
    async fn first(&self, request: Request<Data>, connected: &AtomicBool) -> Answer {
        let mut link = match connect::connect(&self.settings.target.endpoint, self.tls.as_ref()).await {
            Ok(link) => Box::new(link),
            Err(error) => return Answer::without(Outcome::Hold, error.to_string()),
        };
        connected.store(true, Ordering::Relaxed);
        let result = link.exchange(request).await;
        self.answer(link, result)
    }

    fn answer(&self, link: Box<Link>, result: Result<Whole, Broken>) -> Answer {
        let whole = match result {
            Ok(whole) => whole,
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
        if whole.reusable {
            self.pool.put(link, clock::now());
        }
        let (head, body) = whole.response.into_parts();
        let header = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
        let outcome = self.settings.rules.judge(
            &Said {
                status: head.status.as_u16(),
                outcome: header("barnabas-outcome"),
                retry_after: header("retry-after"),
                date: header("date"),
                body: &body,
            },
            clock::unix_millis() / 1000,
        );
        if outcome == Outcome::Done {
            return Answer::done();
        }
        let location = header("location").map(|to| format!(" to {}", String::from_utf8_lossy(to)));
        let shown = String::from_utf8_lossy(&body[..body.len().min(BODY_EXCERPT)]);
        let mut excerpt = format!("{}{}", head.status, location.unwrap_or_default());
        if !shown.trim().is_empty() {
            excerpt.push_str(": ");
            excerpt.push_str(shown.trim());
        }
        Answer {
            outcome,
            status: Some(head.status.as_str().into()),
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
        let request = Request::get(ready.fixed_path())
            .header(HOST, &ready.authority)
            .body(Data(None))
            .map_err(|error| error.to_string())?;
        match tokio::time::timeout(READY_LIMIT, link.exchange(request)).await {
            Err(_) => Err(format!(
                "--ready-url did not answer within {} s",
                READY_LIMIT.as_secs()
            )),
            Ok(Err(broken)) => Err(format!("--ready-url: {}", broken.error)),
            Ok(Ok(whole)) if whole.response.status().is_success() => Ok(()),
            Ok(Ok(whole)) => Err(format!("--ready-url answered {}", whole.response.status())),
        }
    }
}

#[cfg(test)]
mod tests;
