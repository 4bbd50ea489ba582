//! One connection to a broker, as bytes: TCP or TLS over it.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use super::peer::PeerProblem;
use super::resolve;
use super::settings::HostPort;
use super::tls::TlsConnector;

/// How long one address is tried alone before the next one is tried beside it (RFC 8305): a dead IPv6 route must not
/// eat the whole time limit.
const HEAD_START: Duration = Duration::from_millis(250);

/// Idle time after which the kernel asks whether the peer is still there: below the 5 minutes at which many gateways forget a connection.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes of a Kafka frame's length.
const LENGTH: usize = 4;

/// What is being done to open a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Looking up the name.
    Resolve,
    /// Connecting by TCP.
    Connect,
    /// The TLS handshake.
    Tls,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the name",
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
        })
    }
}

/// Lets a caller whose time limit has cut [`open`] short see how far it came.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU8);

impl Progress {
    /// Where [`open`] is, or was when it ended.
    pub(crate) fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Resolve,
            1 => Phase::Connect,
            _ => Phase::Tls,
        }
    }

    fn enter(&self, phase: Phase) {
        let number = match phase {
            Phase::Resolve => 0,
            Phase::Connect => 1,
            Phase::Tls => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }
}

/// A connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The name has no address.
    #[error("no connection to {broker}")]
    Resolve {
        /// As written or announced.
        broker: HostPort,
        /// Names the host, and says why.
        source: io::Error,
    },
    /// No address took the connection.
    #[error("no connection to {broker}: {}", tried(.attempts))]
    Connect {
        /// As written or announced.
        broker: HostPort,
        /// Each address tried, with what came of it.
        attempts: Vec<(SocketAddr, io::Error)>,
    },
    /// A host that TLS cannot check a certificate against.
    #[error("no connection to {broker}: `{}` is no name that a certificate could be for", .broker.host)]
    Name {
        /// As written or announced.
        broker: HostPort,
    },
    /// TLS failed.
    #[error("no connection to {broker}: {problem}")]
    Tls {
        /// As written or announced.
        broker: HostPort,
        /// That was connected to.
        address: SocketAddr,
        /// What it means.
        problem: PeerProblem,
        /// As rustls has it.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether the same settings cannot lead to success later.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } => false,
            Self::Name { .. } => true,
            Self::Tls { problem, .. } => problem.is_lasting(),
        }
    }
}

fn tried(attempts: &[(SocketAddr, io::Error)]) -> String {
    let each = attempts.iter().map(|(address, error)| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{address} refused it (is a broker listening there?)"),
        io::ErrorKind::TimedOut => format!("{address} did not answer"),
        _ => format!("{address}: {error}"),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Opens a connection to the first of the host's addresses that takes one, without a time limit: dropping the future ends it.
///
/// # Errors
/// Says which phase failed and why.
pub(crate) async fn open(
    broker: &HostPort,
    tls: Option<&TlsConnector>,
    progress: &Progress,
) -> Result<(Stream, SocketAddr), OpenError> {
    progress.enter(Phase::Resolve);
    let addresses = resolve::resolve(&broker.host, broker.port)
        .await
        .map_err(|source| OpenError::Resolve {
            broker: broker.clone(),
            source,
        })?;
    progress.enter(Phase::Connect);
    let (tcp, address) = connect(addresses).await.map_err(|attempts| OpenError::Connect {
        broker: broker.clone(),
        attempts,
    })?;
    let Some(tls) = tls else {
        return Ok((Stream::new(Transport::Plain(tcp), None), address));
    };
    progress.enter(Phase::Tls);
    let host = ServerName::try_from(broker.host.clone()).map_err(|_| OpenError::Name {
        broker: broker.clone(),
    })?;
    let presented = tls.presents_certificate();
    match tls.handshake(host, tcp).await {
        Ok(stream) => Ok((
            Stream::new(Transport::Tls(Box::new(stream)), Some(presented)),
            address,
        )),
        Err(source) => {
            let problem = PeerProblem::of_handshake(&source, presented);
            Err(OpenError::Tls {
                broker: broker.clone(),
                address,
                problem,
                source,
            })
        }
    }
}

/// Tries the addresses in turn, the next one as soon as the one before has failed or had its head start.
pub(crate) async fn connect(
    addresses: Vec<SocketAddr>,
) -> Result<(TcpStream, SocketAddr), Vec<(SocketAddr, io::Error)>> {
    let mut untried = addresses.into_iter();
    let mut trying = JoinSet::new();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = untried.next() {
            trying.spawn(async move { (address, connect_one(address).await) });
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
            Some(Ok((address, Ok(tcp)))) => return Ok((tcp, address)),
            Some(Ok((address, Err(error)))) => failed.push((address, error)),
            // Only a runtime that is being shut down cancels one of these.
            Some(Err(_)) => {}
            None => return Err(failed),
        }
    }
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    // A frame is written whole, so there is nothing that Nagle's algorithm could gather.
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    // A connection without it works as well, until a gateway forgets it: not worth failing for.
    let _ = SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
    Ok(tcp)
}

/// One connection. It looks at the first four bytes that come back, so that a wrong port or protocol is told as what it
/// is (as a [`PeerProblem`] within the `io::Error`), and it joins the length of a frame, written alone, with what is written next.
#[derive(Debug)]
pub(crate) struct Stream {
    transport: Transport,
    first: First,
    /// The length of a frame that waits for its frame: `rskafka` writes them apart, and without Nagle's algorithm that would be two packets and two TLS records.
    held: Held,
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The state of the first answer.
#[derive(Debug)]
enum First {
    Awaited {
        bytes: [u8; LENGTH],
        len: usize,
        tls: Option<bool>,
    },
    Seen,
}

#[derive(Debug, Default)]
struct Held {
    bytes: [u8; LENGTH],
    start: usize,
    end: usize,
}

impl Held {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

impl Stream {
    fn new(transport: Transport, tls: Option<bool>) -> Self {
        Self {
            transport,
            first: First::Awaited {
                bytes: [0; LENGTH],
                len: 0,
                tls,
            },
            held: Held::default(),
        }
    }

    /// Looks at what came first. Not called again once four bytes have come.
    fn look(&mut self, result: io::Result<()>, read: &[u8], asked: usize) -> io::Result<()> {
        let First::Awaited { bytes, len, tls } = &mut self.first else {
            return result;
        };
        let result = match result {
            Ok(()) if read.is_empty() && asked > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        };
        if let Err(error) = result {
            return Err(explained(error, *tls));
        }
        let taken = read.len().min(LENGTH - *len);
        bytes[*len..*len + taken].copy_from_slice(&read[..taken]);
        *len += taken;
        if *len == LENGTH {
            let problem = PeerProblem::of_first_bytes(*bytes);
            self.first = First::Seen;
            if let Some(problem) = problem {
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
        }
        Ok(())
    }

    /// Writes out what is held.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.rest().is_empty() {
            let rest = &self.held.bytes[self.held.start..self.held.end];
            let written = ready!(self.transport.poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.start += written;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_joined(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let held = self.held.rest();
            if held.is_empty() {
                return self.transport.poll_write(cx, buf);
            }
            let held_len = held.len();
            let both = [
                IoSlice::new(&self.held.bytes[self.held.start..self.held.end]),
                IoSlice::new(buf),
            ];
            let written = ready!(self.transport.poll_write_vectored(cx, &both))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.start += written.min(held_len);
            // To have written only what was held counts as nothing of `buf`, which must not be reported as 0.
            if written > held_len {
                return Poll::Ready(Ok(written - held_len));
            }
        }
    }

    fn explain<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match (result, &self.first) {
            (Poll::Ready(Err(error)), First::Awaited { tls, .. }) => Poll::Ready(Err(explained(error, *tls))),
            (other, _) => other,
        }
    }
}

fn explained(error: io::Error, tls: Option<bool>) -> io::Error {
    match PeerProblem::of_first_io(&error, tls) {
        Some(problem) => io::Error::new(error.kind(), problem),
        None => error,
    }
}

impl Transport {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, bufs),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (before, asked) = (buf.filled().len(), buf.remaining());
        let result = ready!(this.transport.poll_read(cx, buf));
        if matches!(this.first, First::Seen) {
            return Poll::Ready(result);
        }
        Poll::Ready(this.look(result, &buf.filled()[before..], asked))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.len() == LENGTH && this.held.rest().is_empty() {
            this.held.bytes.copy_from_slice(buf);
            (this.held.start, this.held.end) = (0, LENGTH);
            return Poll::Ready(Ok(LENGTH));
        }
        let result = this.poll_write_joined(cx, buf);
        this.explain(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = match this.poll_held(cx) {
            Poll::Ready(Ok(())) => this.transport.poll_write_vectored(cx, bufs),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        this.explain(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = match this.poll_held(cx) {
            Poll::Ready(Ok(())) => match &mut this.transport {
                Transport::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
                Transport::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
            },
            other => other,
        };
        this.explain(result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_held(cx))?;
        match &mut this.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
