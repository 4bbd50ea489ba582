//! The handler that the consumers post to: one HTTP server in the demo's process, so that what it has processed is
//! known whatever becomes of them.
//!
//! It understands what `consume --http` sends, and nothing else: a POST with a length, one at a time on a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::book::{Delivery, Ending, Place};
use super::orders::POISON_CURRENCY;

/// The largest request, in bytes.
const MAX_REQUEST: usize = 1 << 20;
/// Header lines of a request at most.
const MAX_HEADERS: usize = 64;
/// After the system would not take a connection: until it is asked again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// What the work on an event takes at least, and by how much more at most, in milliseconds.
const WORK: (u64, u64) = (3, 22);

/// How it behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// It answers 503 to everything.
    pub out: bool,
    /// It knows the currency that it fails of at first.
    pub mended: bool,
}

/// What it tells.
#[derive(Debug)]
pub enum Told {
    /// It was given an event, of the record there unless it was replayed.
    Begun(Delivery, Option<Place>),
    /// It is done with this delivery.
    Ended(u64, Ending),
    /// The consumer closed the connection behind the answer to this delivery: it may not have read that.
    Unread(u64),
}

/// The server. It ends when this is dropped.
#[derive(Debug)]
pub struct Handler {
    address: SocketAddr,
    behaviour: watch::Sender<Behaviour>,
    told: mpsc::UnboundedReceiver<Told>,
    /// Dropping it ends the task.
    _server: JoinSet<()>,
}

impl Handler {
    /// Starts it on a free port of the loopback.
    ///
    /// # Errors
    /// The system gives no port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let (behaviour, behaves) = watch::channel(Behaviour::default());
        // Unbounded, but what is told is no more than there are deliveries, and each waits for its answer.
        let (tell, told) = mpsc::unbounded_channel();
        let desk = Desk {
            tell,
            behaves,
            numbers: Arc::default(),
        };
        let mut server = JoinSet::new();
        server.spawn(accept(listener, desk));
        Ok(Self {
            address,
            behaviour,
            told,
            _server: server,
        })
    }

    /// Where a consumer posts to, by its index.
    #[must_use]
    pub fn url(&self, consumer: usize) -> String {
        format!("http://{}/{consumer}", self.address)
    }

    /// Changes how it behaves.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.behaviour.send_modify(change);
    }

    /// What happened next; never ends while the server runs.
    pub async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// What happened, as far as it is there already.
    pub fn take(&mut self) -> Option<Told> {
        self.told.try_recv().ok()
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Desk {
    tell: mpsc::UnboundedSender<Told>,
    behaves: watch::Receiver<Behaviour>,
    numbers: Arc<AtomicU64>,
}

async fn accept(listener: TcpListener, desk: Desk) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, desk.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "the demo's handler cannot take a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, desk: Desk) {
    if let Err(error) = talk(stream, &desk).await {
        // A consumer that was killed, most likely.
        tracing::debug!(%error, "a consumer's connection has broken");
    }
}

/// One request after the other.
async fn talk(mut stream: TcpStream, desk: &Desk) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    let mut last = None;
    loop {
        let head = loop {
            if let Some(end) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
                break buffer.split_to(end + 4);
            }
            let read = more(&mut stream, &mut buffer).await;
            if !matches!(read, Ok(true)) {
                // Nobody listens any more when the demo ends.
                let _ = last.map(|number| desk.tell.send(Told::Unread(number)));
                return read.map(|_| ());
            }
        };
        let Some(request) = Request::read(&head) else {
            return stream
                .write_all(&response(400, "not a request of a consumer"))
                .await;
        };
        while buffer.len() < request.length {
            if !more(&mut stream, &mut buffer).await? {
                return Ok(());
            }
        }
        let data = buffer.split_to(request.length).freeze();
        let number = desk.numbers.fetch_add(1, Ordering::Relaxed);
        let answer = tokio::select! {
            biased;
            () = gone(&stream) => return Ok(()),
            answer = answer(&request, number, data, desk) => answer,
        };
        last = Some(number);
        if let Err(error) = stream.write_all(&answer).await {
            let _ = desk.tell.send(Told::Unread(number));
            return Err(error);
        }
    }
}

/// Reads on; false at the end.
async fn more(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<bool> {
    if buffer.len() > MAX_REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(stream.read_buf(buffer).await? > 0)
}

/// Waits until the other end has closed the connection; for ever, if it has sent something instead.
async fn gone(stream: &TcpStream) {
    if let Ok(1..) = stream.peek(&mut [0]).await {
        std::future::pending::<()>().await;
    }
}

/// The head of a request.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// Whose it is.
    consumer: usize,
    /// Names, in lower case, and values.
    headers: Vec<(String, String)>,
    /// Bytes of the body.
    length: usize,
}

impl Request {
    /// Reads the bytes of a head. Pure.
    fn read(head: &[u8]) -> Option<Self> {
        let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut lines);
        let whole = parsed.parse(head).ok()?.is_complete() && parsed.method == Some("POST");
        let path = parsed.path.filter(|_| whole)?.strip_prefix('/')?;
        let text = |line: &httparse::Header<'_>| {
            let value = std::str::from_utf8(line.value).ok()?;
            Some((line.name.to_ascii_lowercase(), value.to_owned()))
        };
        let mut request = Self {
            consumer: path.parse().ok()?,
            headers: parsed.headers.iter().map(text).collect::<Option<_>>()?,
            length: 0,
        };
        let length = request.header("content-length")?.parse().ok();
        request.length = length.filter(|length| *length <= MAX_REQUEST)?;
        Some(request)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(each, _)| each == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What is delivered, and where its record lies.
    fn delivery(&self, number: u64, data: Bytes) -> Option<(Delivery, Option<Place>)> {
        let replay = self.header("barnabas-replay").is_some();
        let place = self.header("barnabas-record").and_then(|record| {
            let mut parts = record.rsplit('/');
            let offset = parts.next()?.parse().ok()?;
            Some((parts.next()?.parse().ok()?, offset))
        });
        let delivery = Delivery {
            number,
            member: self.consumer,
            id: self.header("ce-id")?.to_owned(),
            redelivered: self.header("barnabas-redelivered").is_some(),
            replay,
            data,
        };
        Some((delivery, place.filter(|_| !replay)))
    }
}

fn response(status: u16, text: &str) -> Vec<u8> {
    // An answer without content has no length either.
    let length = match status {
        204 => String::new(),
        _ => format!("content-length: {}\r\n", text.len()),
    };
    format!("HTTP/1.1 {status} -\r\n{length}\r\n{text}").into_bytes()
}

/// Tells that a delivery was cut off, unless it ends in order before.
struct Open<'a> {
    number: u64,
    desk: &'a Desk,
    ended: bool,
}

impl Open<'_> {
    fn end(mut self, ending: Ending) {
        self.ended = true;
        // Nobody listens any more when the demo ends.
        let _ = self.desk.tell.send(Told::Ended(self.number, ending));
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.desk.tell.send(Told::Ended(self.number, Ending::CutOff));
        }
    }
}

/// Works on an event. Dropped half-way, where the consumer has gone, nothing of it was processed.
async fn answer(request: &Request, number: u64, data: Bytes, desk: &Desk) -> Vec<u8> {
    let Some((delivery, place)) = request.delivery(number, data.clone()) else {
        return response(400, "not an event of the demo");
    };
    let work = work(&delivery.id);
    let _ = desk.tell.send(Told::Begun(delivery, place));
    let open = Open {
        number,
        desk,
        ended: false,
    };
    if !desk.behaves.borrow().out {
        tokio::time::sleep(Duration::from_millis(work)).await;
    }
    let (status, text) = judge(*desk.behaves.borrow(), &data);
    open.end(match status {
        200..=299 => Ending::Done,
        status => Ending::Failed(status),
    });
    response(status, text)
}

/// What the work on an event takes, in milliseconds: some take longer than others, and each as long as the last time.
fn work(id: &str) -> u64 {
    // FNV-1a.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    WORK.0 + (hash >> 32) % WORK.1
}

/// What is answered. Pure.
fn judge(behaviour: Behaviour, data: &[u8]) -> (u16, &'static str) {
    #[derive(serde::Deserialize)]
    struct Money<'a> {
        #[serde(borrow)]
        currency: Option<std::borrow::Cow<'a, str>>,
    }
    if behaviour.out {
        return (503, "the database is down");
    }
    match serde_json::from_slice::<Money<'_>>(data) {
        Err(_) => (400, "this is no order"),
        Ok(Money {
            currency: Some(currency),
        }) if currency == POISON_CURRENCY && !behaviour.mended => (500, "no exchange rate for XTS"),
        Ok(_) => (204, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fails_of_the_currency_that_it_does_not_know_until_it_is_mended() {
        let paid = |currency: &str| format!(r#"{{"order":"o-1","currency":"{currency}"}}"#);
        let sound = Behaviour::default();
        let mended = Behaviour {
            mended: true,
            ..sound
        };
        let out = Behaviour { out: true, ..mended };
        assert_eq!(judge(sound, paid("EUR").as_bytes()).0, 204);
        assert_eq!(judge(sound, br#"{"order":"o-1"}"#).0, 204);
        assert_eq!(judge(sound, paid("XTS").as_bytes()).0, 500);
        assert_eq!(judge(mended, paid("XTS").as_bytes()).0, 204);
        assert_eq!(judge(out, paid("EUR").as_bytes()).0, 503);
        assert_eq!(judge(sound, b"XTS").0, 400);
    }

    fn request(headers: &str) -> Option<Request> {
        Request::read(format!("POST /1 HTTP/1.1\r\n{headers}\r\n").as_bytes())
    }

    #[test]
    fn a_delivery_is_read_from_its_headers() {
        let first = "Content-Length: 2\r\nce-id: o-1.2\r\nbarnabas-record: orders/3/17\r\n";
        let read = request(&format!("{first}barnabas-redelivered: maybe\r\n")).unwrap();
        assert_eq!((read.consumer, read.length), (1, 2));
        let (read, place) = read.delivery(9, Bytes::new()).unwrap();
        assert_eq!(
            (read.id.as_str(), read.member, place),
            ("o-1.2", 1, Some((3, 17)))
        );
        assert!(read.redelivered && !read.replay);
        let replayed = request(&format!("{first}barnabas-replay: 1\r\n")).unwrap();
        let (read, place) = replayed.delivery(9, Bytes::new()).unwrap();
        assert_eq!((read.replay, read.redelivered, place), (true, false, None));
        let nameless = request("content-length: 2\r\n").unwrap();
        assert!(nameless.delivery(9, Bytes::new()).is_none());
    }

    #[test]
    fn what_no_consumer_sends_is_no_request() {
        assert!(request("").is_none(), "without a length");
        assert!(request("content-length: 1048577\r\n").is_none());
        for head in [
            "GET /1 HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            "POST /x HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert_eq!(Request::read(head.as_bytes()), None, "{head}");
        }
        assert_eq!(Request::read(b"POST /1 \xff\r\n\r\n"), None);
    }

    #[test]
    fn an_answer_has_its_length() {
        assert_eq!(response(204, ""), b"HTTP/1.1 204 -\r\n\r\n");
        assert_eq!(
            response(503, "no"),
            b"HTTP/1.1 503 -\r\ncontent-length: 2\r\n\r\nno"
        );
    }

    #[test]
    fn the_work_on_an_event_takes_a_few_milliseconds_each_time() {
        let all: std::collections::BTreeSet<u64> = (0..1_000).map(|n| work(&format!("o-{n}.1"))).collect();
        assert!(
            all.first() >= Some(&WORK.0) && all.last() < Some(&(WORK.0 + WORK.1)),
            "{all:?}"
        );
        assert!(all.len() > 10, "{all:?}");
        assert_eq!(work("o-1.1"), work("o-1.1"));
    }
}
