//! One connection to an HTTP handler: by TCP, TLS or a Unix socket; and one request on it.
//!
//! Nothing drives a connection but the request on it: no task of its own, no waking to and fro; dropping it closes it. hyper's
//! client was here before, and took about a fourth of the CPU time of a delivery (docs/performance.md).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::answer::{Answered, Reading};
use super::target::Endpoint;
use crate::broker::resolve::resolve;
use crate::broker::stream;
use crate::broker::tls::TlsConnector;
use crate::record::OwnedRecord;

/// For a connection to be there, name and TLS included.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Bytes read at once: answers are short.
const READ: usize = 4 << 10;

/// No connection; says with whom and why.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("{0}")]
    Resolve(String),
    /// No address took the connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// It took too long.
    #[error("no connection within {} s", CONNECT_LIMIT.as_secs())]
    TooSlow,
    /// TLS failed.
    #[error("TLS failed: {0} (--http-ca names the authorities to trust)")]
    Tls(io::Error),
}

/// A request as it is sent.
#[derive(Debug)]
pub(super) struct Post {
    /// To the empty line; small data may stand behind it.
    pub(super) head: Vec<u8>,
    /// What stands behind the head.
    pub(super) data: Option<Data>,
}

/// What a request carries.
#[derive(Debug)]
pub(super) enum Data {
    /// The value of a record.
    Value(Arc<OwnedRecord>),
    /// Other bytes.
    Own(Vec<u8>),
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Value(record) => record.value().unwrap_or_default(),
            Self::Own(bytes) => bytes,
        }
    }
}

/// A connection that takes one request after another.
pub(super) struct Link {
    transport: Transport,
    scratch: Box<[u8]>,
}

/// What came of a request that has no whole answer.
#[derive(Debug)]
pub(super) struct Broken {
    /// Bytes of the request were written: it may have taken effect.
    pub(super) written: bool,
    /// Bytes of the answer have come.
    pub(super) answered: bool,
    /// What went wrong.
    pub(super) error: String,
}

/// Opens a connection; `tls` is used if the endpoint wants it.
///
/// # Errors
/// Within [`CONNECT_LIMIT`], if there is none.
pub(super) async fn connect(endpoint: &Endpoint, tls: Option<&TlsConnector>) -> Result<Link, ConnectError> {
    let transport = tokio::time::timeout(CONNECT_LIMIT, open(endpoint, tls))
        .await
        .map_err(|_| ConnectError::TooSlow)??;
    Ok(Link {
        transport,
        scratch: vec![0; READ].into_boxed_slice(),
    })
}

async fn open(endpoint: &Endpoint, tls: Option<&TlsConnector>) -> Result<Transport, ConnectError> {
    let (host, port, wants_tls) = match endpoint {
        Endpoint::Unix(path) => {
            let connected = UnixStream::connect(path).await;
            return connected
                .map(Transport::Unix)
                .map_err(|error| ConnectError::Connect(format!("{}: {error}", path.display())));
        }
        Endpoint::Tcp { host, port, tls } => (host, *port, *tls),
    };
    let addresses = resolve(host, port)
        .await
        .map_err(|error| ConnectError::Resolve(error.to_string()))?;
    let (tcp, _) = stream::connect(addresses)
        .await
        .map_err(|attempts| ConnectError::Connect(tried(&attempts)))?;
    let Some(tls) = tls.filter(|_| wants_tls) else {
        return Ok(Transport::Tcp(tcp));
    };
    let name = ServerName::try_from(host.clone())
        .map_err(|_| ConnectError::Resolve(format!("`{host}` is no name that a certificate could be for")))?;
    let stream = tls.handshake(name, tcp).await.map_err(ConnectError::Tls)?;
    Ok(Transport::Tls(Box::new(stream)))
}

fn tried(attempts: &[(SocketAddr, io::Error)]) -> String {
    let each = attempts.iter().map(|(address, error)| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{address} refused it (is the handler listening there?)"),
        _ => format!("{address}: {error}"),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// The same call on whichever transport it is.
macro_rules! transport {
    ($self:ident.$call:ident($($argument:expr),*)) => {
        match &mut $self.transport {
            Transport::Tcp(stream) => Pin::new(stream).$call($($argument),*),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).$call($($argument),*),
            Transport::Unix(stream) => Pin::new(stream).$call($($argument),*),
        }
    };
}

impl Link {
    /// Whether it can take a request: not if the other side has closed it, or says something without being asked.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.poll_read(cx).is_pending())).await
    }

    /// Sends a request and reads its answer to the last byte, without a time limit.
    pub(super) async fn exchange(&mut self, post: &Post) -> Result<Answered, Broken> {
        let mut sending = Sending::new(post);
        let mut reading = Reading::new();
        let mut answered = false;
        let done = poll_fn(|cx| self.poll_exchange(cx, &mut sending, &mut reading, &mut answered)).await;
        match done {
            Ok(()) => {
                let mut answer = reading.into_answer();
                // What is left of the request would be taken for the next one.
                answer.reusable &= sending.is_over();
                Ok(answer)
            }
            Err(error) => Err(Broken {
                written: sending.sent > 0,
                answered,
                error,
            }),
        }
    }

    /// Writes and reads as much as can be. An answer may come before all is written, and instead of the rest.
    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending<'_>,
        reading: &mut Reading,
        answered: &mut bool,
    ) -> Poll<Result<(), String>> {
        self.send(cx, sending);
        loop {
            let read = match self.poll_read(cx) {
                Poll::Ready(read) => read,
                // Who cannot be written to may have answered before: that, or the connection's end, is told soon.
                Poll::Pending => {
                    return match &sending.failed {
                        Some(error) if !is_end(error) => Poll::Ready(Err(error.to_string())),
                        _ => Poll::Pending,
                    };
                }
            };
            let over = match (read, &sending.failed) {
                (Ok(0), None) => reading.end().map(|()| true).map_err(|wrong| wrong.to_string()),
                (Ok(0), Some(error)) => reading.end().map(|()| true).map_err(|_| error.to_string()),
                (Ok(n), _) => {
                    *answered = true;
                    reading
                        .take(&self.scratch[..n])
                        .map_err(|wrong| wrong.to_string())
                }
                (Err(error), first) => Err(first.as_ref().unwrap_or(&error).to_string()),
            };
            match over {
                Ok(false) => {}
                Ok(true) => return Poll::Ready(Ok(())),
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
    }

    /// Writes as much as can be. What fails is noted: the answer may be there nevertheless.
    fn send(&mut self, cx: &mut Context<'_>, sending: &mut Sending<'_>) {
        while !sending.is_over() && sending.failed.is_none() {
            let [first, second] = sending.rest();
            let wrote = match (first, second) {
                ([], []) => transport!(self.poll_flush(cx)).map_ok(|()| None),
                (one, []) | ([], one) => transport!(self.poll_write(cx, one)).map_ok(Some),
                (one, other) => {
                    let both = [IoSlice::new(one), IoSlice::new(other)];
                    transport!(self.poll_write_vectored(cx, &both)).map_ok(Some)
                }
            };
            match wrote {
                Poll::Pending => return,
                Poll::Ready(Ok(None)) => sending.flushed = true,
                Poll::Ready(Ok(Some(0))) => sending.failed = Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(Some(n))) => sending.sent += n,
                Poll::Ready(Err(error)) => sending.failed = Some(error),
            }
        }
    }

    /// Reads into `scratch`; 0 at the end of the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(&mut self.scratch);
        ready!(transport!(self.poll_read(cx, &mut into)))?;
        Poll::Ready(Ok(into.filled().len()))
    }
}

/// Whether the other side has closed the connection: reading comes to that end as well.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// A request on its way.
struct Sending<'a> {
    parts: [&'a [u8]; 2],
    /// Bytes of both.
    sent: usize,
    flushed: bool,
    failed: Option<io::Error>,
}

impl<'a> Sending<'a> {
    fn new(post: &'a Post) -> Self {
        Self {
            parts: [&post.head, post.data.as_ref().map_or(&[], Data::bytes)],
            sent: 0,
            flushed: false,
            failed: None,
        }
    }

    fn rest(&self) -> [&'a [u8]; 2] {
        let [head, data] = self.parts;
        let of_head = self.sent.min(head.len());
        [&head[of_head..], &data[self.sent - of_head..]]
    }

    fn is_over(&self) -> bool {
        self.flushed
    }
}

enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}
