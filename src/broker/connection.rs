//! One connection: rskafka's `Messenger` over our own stream, with time limits.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use rskafka::messenger::{Messenger, RequestError};
use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::primitives::Int16;

use super::error::{self, Error, PeerProblem};
use super::request::{Answer, Api, Question, text};
use super::settings::{BrokerSettings, HostPort};
use super::stream::{self, Progress, Stream};
use super::tls::TlsConnector;
use super::{sasl, tls};
use crate::clock;

/// The largest answer taken, in bytes: a fetch's limit, plus a batch that is larger than it.
const MAX_RESPONSE: usize = 256 << 20;
/// A re-authentication is begun with this part of the session left (KIP-368).
const SESSION_MARGIN: f64 = 0.2;
/// Kafka's code for a version that the broker does not speak.
const UNSUPPORTED_VERSION: i16 = 35;

/// An answer on its way; the request is in the stream already, in the order of the calls.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// What all connections share: the settings, and TLS made ready once.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) settings: BrokerSettings,
    tls: Option<TlsConnector>,
}

impl Prepared {
    pub(crate) fn new(settings: BrokerSettings) -> Result<Self, Error> {
        let tls = settings
            .tls
            .as_ref()
            .map(tls::TlsConnector::prepare)
            .transpose()
            .map_err(|e| Error::Tls(Arc::new(e)))?;
        Ok(Self { settings, tls })
    }
}

/// A connection that has been greeted and, where asked for, logged in.
#[derive(Debug)]
pub struct Connection {
    messenger: Messenger<Stream>,
    broker: HostPort,
    peer: SocketAddr,
    request_timeout: Duration,
    expires: Option<Instant>,
    broken: AtomicBool,
    /// Whether it was greeted without a login, and has not answered anything since.
    may_want_login: AtomicBool,
}

impl Connection {
    /// Connects, shakes hands, logs in: all within `connect_timeout`, and within `timeout`.
    pub(crate) async fn open(broker: HostPort, prepared: &Prepared) -> Result<Self, Error> {
        // A single attempt shall not outlast the time there is to reach any broker.
        let within = prepared.settings.connect_timeout.min(prepared.settings.timeout);
        let progress = Progress::default();
        let opening = Self::open_unlimited(broker.clone(), prepared, &progress);
        match tokio::time::timeout(within, opening).await {
            Ok(result) => result,
            Err(_) => Err(Error::ConnectTimeout {
                broker,
                within,
                during: progress.phase().to_string(),
            }),
        }
    }

    async fn open_unlimited(
        broker: HostPort,
        prepared: &Prepared,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let settings = &prepared.settings;
        let (stream, peer) = stream::open(&broker, prepared.tls.as_ref(), progress)
            .await
            .map_err(|source| Error::Connect(Arc::new(source)))?;
        let messenger = Messenger::new(stream, MAX_RESPONSE, Arc::from(settings.client_id.as_str()));
        let mut connection = Self {
            messenger,
            broker,
            peer,
            request_timeout: settings.request_timeout,
            expires: None,
            broken: AtomicBool::new(false),
            may_want_login: AtomicBool::new(false),
        };
        connection.sync_versions().await?;
        if let Some(sasl) = &settings.sasl {
            let session = sasl::authenticate(&connection.messenger, sasl)
                .await
                .map_err(|source| Error::Login {
                    broker: connection.broker.clone(),
                    source: Arc::new(source),
                })?;
            connection.expires = session.map(|session| clock::now() + session.mul_f64(1.0 - SESSION_MARGIN));
        }
        if settings.sasl.is_none() {
            connection.may_want_login.store(true, Ordering::Relaxed);
        }
        Ok(connection)
    }

    /// Asks for the broker's API versions under our own name: rskafka's own would announce "rskafka".
    async fn sync_versions(&mut self) -> Result<(), Error> {
        let mut highest = ApiVersionsRequest::SPOKEN.1;
        let ranges = loop {
            self.messenger
                .override_version_ranges(HashMap::from([(ApiKey::ApiVersions, range(0, highest))]));
            let request = ApiVersionsRequest::default()
                .with_client_software_name(text("barnabas"))
                .with_client_software_version(text(env!("CARGO_PKG_VERSION")));
            match self.request(&request, Duration::ZERO).await {
                Ok(answer) if answer.error_code == 0 => break ranges_of(&answer),
                // An old broker answers an unknown version with version 0 and this code.
                Ok(answer) if answer.error_code == UNSUPPORTED_VERSION && highest > 0 => highest = 0,
                Err(Error::Broken { source, .. })
                    if highest > 0
                        && matches!(
                            *source,
                            RequestError::ReadVersionedError(_) | RequestError::TooMuchData { .. }
                        ) =>
                {
                    highest = 0;
                }
                Ok(answer) => {
                    let what = || format!("broker {} refused the greeting", self.broker);
                    return Err(
                        Error::refused(what, answer.error_code, None).unwrap_or(Error::Unspoken {
                            broker: self.broker.clone(),
                            api: "ApiVersions",
                        }),
                    );
                }
                Err(e) => return Err(e),
            }
        };
        self.messenger.override_version_ranges(ranges);
        Ok(())
    }

    /// The broker's address as it was asked for.
    #[must_use]
    pub fn broker(&self) -> &HostPort {
        &self.broker
    }

    /// The address that was connected to.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether new requests should rather go over a new connection.
    pub(crate) fn is_spent(&self, now: Instant) -> bool {
        self.broken.load(Ordering::Relaxed) || self.expires.is_some_and(|expires| now >= expires)
    }

    /// Marks it as broken, for whoever does not wait for an answer as long as [`Self::request`] would: what is asked
    /// from now on goes over a new connection.
    pub(crate) fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Sends a request and waits for its answer, `wait` longer than the usual limit
    /// (for what the request itself lets the broker wait).
    ///
    /// # Errors
    /// A connection that breaks, an answer that is late or makes no sense. Error codes inside the answer are the caller's.
    pub async fn request<R: Api>(&self, request: &R, wait: Duration) -> Result<R::Response, Error> {
        let within = self.request_timeout + wait;
        match tokio::time::timeout(within, self.messenger.request(Question(request))).await {
            Ok(Ok(Answer(response))) => {
                self.may_want_login.store(false, Ordering::Relaxed);
                Ok(response)
            }
            Ok(Err(RequestError::NoVersionMatch { .. })) => Err(Error::Unspoken {
                broker: self.broker.clone(),
                api: R::NAME,
            }),
            Ok(Err(source)) => {
                self.broken.store(true, Ordering::Relaxed);
                let problem = PeerProblem::find(&source).cloned();
                // Kafka closes without a word when it wants a login first.
                let wants_login =
                    self.may_want_login.load(Ordering::Relaxed) && error::broke_in_transit(&source);
                if let Some(problem) = problem.or(wants_login.then_some(PeerProblem::WantsLogin)) {
                    return Err(Error::Peer {
                        broker: self.broker.clone(),
                        problem,
                    });
                }
                Err(Error::Broken {
                    broker: self.broker.clone(),
                    api: R::NAME,
                    source: Arc::new(source),
                })
            }
            // A broker answers in order: what comes behind a late answer is late too.
            Err(_) => {
                self.broken.store(true, Ordering::Relaxed);
                Err(Error::Timeout {
                    broker: self.broker.clone(),
                    api: R::NAME,
                    within,
                })
            }
        }
    }

    /// Puts a request into the stream now, in the order of the calls, and returns its answer to wait for.
    pub(crate) fn start<R: Api>(self: &Arc<Self>, request: R, wait: Duration) -> Pending<R::Response> {
        let connection = Arc::clone(self);
        let mut pending: Pending<R::Response> =
            Box::pin(async move { connection.request(&request, wait).await });
        // `Messenger` queues a request when it is first polled. The waker of that poll does not matter:
        // whoever waits polls again.
        match pending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Box::pin(std::future::ready(result)),
            Poll::Pending => pending,
        }
    }
}

fn range(min: i16, max: i16) -> ApiVersionRange {
    ApiVersionRange::new(ApiVersion(Int16(min)), ApiVersion(Int16(max)))
}

fn ranges_of(answer: &ApiVersionsResponse) -> HashMap<ApiKey, ApiVersionRange> {
    answer
        .api_keys
        .iter()
        .filter(|api| api.min_version <= api.max_version)
        .map(|api| {
            (
                ApiKey::from(Int16(api.api_key)),
                range(api.min_version, api.max_version),
            )
        })
        .collect()
}
