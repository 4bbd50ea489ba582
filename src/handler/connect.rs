//! One connection to an HTTP handler: by TCP, TLS or a Unix socket; and one request on it.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::rt::ReadBufCursor;
use hyper::{Request, Response};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::target::Endpoint;
use crate::broker::resolve::resolve;
use crate::broker::stream;
use crate::broker::tls::TlsConnector;

/// For a connection to be there, name and TLS included.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Of an answer's body, as much is read; more of it ends the connection.
pub const MAX_BODY: usize = 1 << 20;

/// The largest head of an answer, in bytes; also the most that is buffered of a connection.
const MAX_HEAD: usize = 64 << 10;

/// Bytes read at once: hyper's buffer can only be filled by copying, unless with unsafe code; answers are short.
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

/// The data of a request.
#[derive(Debug)]
pub(super) struct Data(pub(super) Option<Bytes>);

impl Body for Data {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        let len = self.0.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(len).unwrap_or(u64::MAX))
    }
}

/// A connection that takes one request after another. Nothing drives it but [`exchange`](Self::exchange) and [`is_open`](Self::is_open):
/// no task of its own, no waking to and fro; dropping it closes it.
pub(super) struct Link {
    sender: SendRequest<Data>,
    connection: Option<Connection<Socket, Data>>,
    counts: Arc<Counts>,
}

/// What came of a request that has no whole answer.
#[derive(Debug)]
pub(super) struct Broken {
    /// Bytes of the request were written: it may have taken effect.
    pub(super) written: bool,
    /// Bytes of the answer have come.
    pub(super) answered: bool,
    /// As hyper has it.
    pub(super) error: String,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) response: Response<Vec<u8>>,
    /// The connection may be used again.
    pub(super) reusable: bool,
}

/// Opens a connection; `tls` is used if the endpoint wants it.
///
/// # Errors
/// Within [`CONNECT_LIMIT`], if there is none.
pub(super) async fn connect(endpoint: &Endpoint, tls: Option<&TlsConnector>) -> Result<Link, ConnectError> {
    let transport = tokio::time::timeout(CONNECT_LIMIT, open(endpoint, tls))
        .await
        .map_err(|_| ConnectError::TooSlow)??;
    let counts = Arc::new(Counts::default());
    let socket = Socket {
        transport,
        counts: Arc::clone(&counts),
        scratch: vec![0; READ].into_boxed_slice(),
    };
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(socket)
        .await
        .map_err(|error| ConnectError::Connect(error.to_string()))?;
    Ok(Link {
        sender,
        connection: Some(connection),
        counts,
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

impl Link {
    /// Whether it can take a request: not if the other side has closed it.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(self.connection.is_some() && self.sender.is_ready())
        })
        .await
    }

    /// Moves bytes. What the connection ends with reaches the request as its error.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // A request that it had not taken yet is told by this.
            self.connection = None;
        }
    }

    /// Sends a request and reads its answer to the last byte, without a time limit.
    pub(super) async fn exchange(&mut self, request: Request<Data>) -> Result<Whole, Broken> {
        self.counts.reset();
        let mut sent = std::pin::pin!(self.sender.send_request(request));
        let received = poll_fn(|cx| {
            self.drive(cx);
            sent.as_mut().poll(cx)
        });
        let (head, body) = received
            .await
            .map_err(|error| self.counts.broken(&error))?
            .into_parts();
        let read = self.read(body).await;
        let (body, whole) = read.map_err(|error| self.counts.broken(&error))?;
        let response = Response::from_parts(head, body);
        // Here it is seen whether the answer said that the connection closes.
        let reusable = whole && self.is_open().await;
        Ok(Whole { response, reusable })
    }

    /// Reads the body; false if it is longer than [`MAX_BODY`].
    async fn read(&mut self, mut body: Incoming) -> Result<(Vec<u8>, bool), hyper::Error> {
        let mut read = Vec::new();
        while !body.is_end_stream() {
            let frame = poll_fn(|cx| {
                self.drive(cx);
                Pin::new(&mut body).poll_frame(cx)
            });
            let Some(frame) = frame.await else { break };
            if let Some(data) = frame?.data_ref() {
                let room = MAX_BODY - read.len();
                if data.len() > room {
                    read.extend_from_slice(&data[..room]);
                    return Ok((read, false));
                }
                read.extend_from_slice(data);
            }
        }
        Ok((read, true))
    }
}

/// Bytes since the last request began.
#[derive(Debug, Default)]
struct Counts {
    read: AtomicU64,
    written: AtomicU64,
}

impl Counts {
    fn reset(&self) {
        self.read.store(0, Ordering::Relaxed);
        self.written.store(0, Ordering::Relaxed);
    }

    fn add(count: &AtomicU64, n: usize) {
        count.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn broken(&self, error: &hyper::Error) -> Broken {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            source = inner.source();
        }
        Broken {
            written: self.written.load(Ordering::Relaxed) > 0,
            answered: self.read.load(Ordering::Relaxed) > 0,
            error: text,
        }
    }
}

enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// The bytes below HTTP, counted.
struct Socket {
    transport: Transport,
    counts: Arc<Counts>,
    scratch: Box<[u8]>,
}

/// The same call on whichever it is.
macro_rules! transport {
    ($self:ident.$call:ident($($argument:expr),*)) => {
        match &mut $self.transport {
            Transport::Tcp(stream) => Pin::new(stream).$call($($argument),*),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).$call($($argument),*),
            Transport::Unix(stream) => Pin::new(stream).$call($($argument),*),
        }
    };
}

impl hyper::rt::Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let len = buf.remaining().min(this.scratch.len());
        let mut into = ReadBuf::new(&mut this.scratch[..len]);
        ready!(transport!(this.poll_read(cx, &mut into)))?;
        let read = into.filled();
        Counts::add(&this.counts.read, read.len());
        buf.put_slice(read);
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(transport!(this.poll_write(cx, buf)))?;
        Counts::add(&this.counts.written, n);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        transport!(this.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        transport!(this.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        !matches!(self.transport, Transport::Tls(_))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(transport!(this.poll_write_vectored(cx, bufs)))?;
        Counts::add(&this.counts.written, n);
        Poll::Ready(Ok(n))
    }
}
