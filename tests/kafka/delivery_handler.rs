//! An HTTP handler in the test's own process: a script decides what it answers, and it keeps a record of all it saw.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is sent at once of a body without an end.
const CHUNK: [u8; 16 << 10] = [b'x'; 16 << 10];

/// A request for an event.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) began: Instant,
    /// When the answer was about to be written; none while it is at work, or if it broke off.
    pub(crate) ended: Option<Instant>,
    /// When the connection ended without an answer of ours: the other side went away, or what was sent is none.
    pub(crate) gone: Option<Instant>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) value: String,
    /// `barnabas-attempt`
    pub(crate) attempt: u32,
    /// `barnabas-fence`
    pub(crate) fence: String,
    /// The request's first line and all headers, as they came.
    pub(crate) head: String,
    /// The status of the answer; 0 for none.
    pub(crate) status: u16,
    /// How often it has seen this record before.
    pub(crate) before: usize,
}

impl Seen {
    /// Where the record is.
    pub(crate) fn place(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }

    /// A header; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.head, name)
    }

    /// It was answered for good: done or refused.
    fn is_final(&self) -> bool {
        self.ended.is_some() && matches!(self.status, 200..=299 | 422)
    }
}

/// What it does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// An answer without a body.
    Status(u16),
    /// An answer with this header line as well.
    With(u16, String),
    /// An answer with this body.
    Body(u16, &'static str),
    /// An answer after so long.
    After(Duration, u16),
    /// These bytes, whatever they are, and the connection's end.
    Raw(&'static [u8]),
    /// 500 and a body that goes on until the other side has enough.
    Endless,
}

/// What it writes down.
#[derive(Default)]
struct Book {
    seen: Vec<Seen>,
    /// How often each record was seen.
    times: HashMap<(i32, i64), usize>,
    /// Those that were answered 2xx.
    done: BTreeSet<(i32, i64)>,
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

struct State {
    script: Box<Script>,
    book: Mutex<Book>,
    /// Connections, to be broken.
    open: Mutex<Vec<TcpStream>>,
    /// How often it has died.
    deaths: AtomicUsize,
}

/// The handler. It answers until it is stopped or dropped.
pub(crate) struct Http {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<(JoinHandle<()>, Arc<AtomicBool>)>,
}

impl Http {
    /// Starts it on a free port.
    pub(crate) fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut handler = Self {
            address: listener.local_addr().expect("it is bound"),
            state: Arc::new(State {
                script: Box::new(script),
                book: Mutex::default(),
                open: Mutex::default(),
                deaths: AtomicUsize::new(0),
            }),
            accepting: None,
        };
        handler.accept(listener);
        handler
    }

    /// For `--http`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All requests so far, in the order in which they came.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.state.book).seen.clone()
    }

    /// How many requests that is.
    pub(crate) fn count(&self) -> usize {
        lock(&self.state.book).seen.len()
    }

    /// The records that were answered 2xx.
    pub(crate) fn done(&self) -> BTreeSet<(i32, i64)> {
        lock(&self.state.book).done.clone()
    }

    /// How many they are.
    pub(crate) fn done_count(&self) -> usize {
        lock(&self.state.book).done.len()
    }

    /// Dies in the middle of whatever it does, and leaves nobody at its port.
    pub(crate) fn die(&mut self) {
        if let Some((thread, stop)) = self.accepting.take() {
            stop.store(true, Ordering::SeqCst);
            // Wakes it.
            let _ = TcpStream::connect(self.address);
            let _ = thread.join();
        }
        self.state.deaths.fetch_add(1, Ordering::SeqCst);
        for stream in lock(&self.state.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Is there again, at the same port.
    pub(crate) fn rise(&mut self) {
        self.accept(TcpListener::bind(self.address).expect("its port is still free"));
    }

    fn accept(&mut self, listener: TcpListener) {
        let stop = Arc::new(AtomicBool::new(false));
        let (state, told) = (Arc::clone(&self.state), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(other) = stream.try_clone() {
                    lock(&state.open).push(other);
                }
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    // The other side may go away at any time.
                    let _ = serve(&state, &stream);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        self.accepting = Some((thread, stop));
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.die();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of one connection.
fn serve(state: &State, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let deaths = state.deaths.load(Ordering::SeqCst);
    let mut reader = BufReader::new(stream);
    while let Some(seen) = request(&mut reader)? {
        let (at, seen) = {
            let mut book = lock(&state.book);
            let times = book.times.entry(seen.place()).or_default();
            let before = std::mem::replace(times, *times + 1);
            let seen = Seen { before, ..seen };
            book.seen.push(seen.clone());
            (book.seen.len() - 1, seen)
        };
        let reply = (state.script)(&seen);
        if let Reply::After(time, _) = reply
            && !stays(stream, time)?
        {
            if let Some(seen) = lock(&state.book).seen.get_mut(at) {
                seen.gone = Some(barnabas::clock::now());
            }
            return Ok(());
        }
        if state.deaths.load(Ordering::SeqCst) != deaths {
            return Ok(());
        }
        let (status, head, body) = match &reply {
            Reply::Status(status) | Reply::After(_, status) => (*status, String::new(), ""),
            Reply::With(status, header) => (*status, format!("{header}\r\n"), ""),
            Reply::Body(status, body) => (*status, String::new(), *body),
            Reply::Endless => (500, String::new(), ""),
            Reply::Raw(bytes) => {
                if let Some(seen) = lock(&state.book).seen.get_mut(at) {
                    seen.gone = Some(barnabas::clock::now());
                }
                return (&*stream).write_all(bytes);
            }
        };
        {
            // Before the other side can know.
            let mut book = lock(&state.book);
            if let Some(seen) = book.seen.get_mut(at) {
                seen.ended = Some(barnabas::clock::now());
                seen.status = status;
            }
            if (200..300).contains(&status) {
                book.done.insert(seen.place());
            }
        }
        let length = if matches!(reply, Reply::Endless) {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        (&*stream).write_all(format!("HTTP/1.1 {status} X\r\n{head}{length}\r\n{body}").as_bytes())?;
        if matches!(reply, Reply::Endless) {
            loop {
                (&*stream).write_all(&CHUNK)?;
            }
        }
    }
    Ok(())
}

/// Whether the other side is still there after this time; returns at once when it goes away.
fn stays(stream: &TcpStream, time: Duration) -> io::Result<bool> {
    if time < Duration::from_millis(50) {
        thread::sleep(time);
        return Ok(true);
    }
    let until = barnabas::clock::now() + time;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let stays = loop {
        // No second request comes before the first is answered.
        if matches!(stream.peek(&mut [0]), Ok(0)) {
            break false;
        }
        if barnabas::clock::now() >= until {
            break true;
        }
    };
    stream.set_read_timeout(None)?;
    Ok(stays)
}

/// The next request; `None` at the connection's end.
fn request(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Seen>> {
    let mut head = String::with_capacity(512);
    if reader.read_line(&mut head)? == 0 {
        return Ok(None);
    }
    let began = barnabas::clock::now();
    while reader.read_line(&mut head)? > 2 {}
    let mut body = vec![0; header(&head, "content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut numbers = header(&head, "barnabas-record").rsplit('/');
    let offset = numbers.next().and_then(|text| text.parse().ok());
    let partition = numbers.next().and_then(|text| text.parse().ok());
    Ok(Some(Seen {
        began,
        ended: None,
        gone: None,
        partition: partition.unwrap_or(-1),
        offset: offset.unwrap_or(-1),
        key: header(&head, "barnabas-key").to_owned(),
        value: String::from_utf8_lossy(&body).into_owned(),
        attempt: header(&head, "barnabas-attempt").parse().unwrap_or(0),
        fence: header(&head, "barnabas-fence").to_owned(),
        status: 0,
        before: 0,
        head,
    }))
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map_or("", |(_, value)| value)
}

/// Sees that of each key nothing began before what precedes it was answered for good, but for records in `dead`.
///
/// # Panics
/// If something did.
#[track_caller]
pub(crate) fn in_order(seen: &[Seen], dead: &BTreeSet<(i32, i64)>) {
    let mut finals: BTreeMap<(i32, i64), Instant> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.is_final()) {
        let ended = seen.ended.expect("it is final");
        let first = finals.entry(seen.place()).or_insert(ended);
        *first = ended.min(*first);
    }
    let mut keys: BTreeMap<(i32, &str), BTreeMap<i64, Instant>> = BTreeMap::new();
    for seen in seen {
        let began = keys.entry((seen.partition, &seen.key)).or_default();
        let first = began.entry(seen.offset).or_insert(seen.began);
        *first = seen.began.min(*first);
    }
    for ((partition, key), offsets) in keys {
        // Each is behind the one before it, so it is behind all.
        let mut before: Option<i64> = None;
        for (offset, began) in offsets {
            if let Some(before) = before.filter(|before| !dead.contains(&(partition, *before))) {
                let ended = finals.get(&(partition, before));
                assert!(
                    ended.is_some_and(|ended| *ended <= began),
                    "{key}: offset {offset} of partition {partition} began before {before} was done"
                );
            }
            before = Some(offset);
        }
    }
}

/// Sees that no two requests of a key were at work at once.
///
/// # Panics
/// If they were.
#[track_caller]
pub(crate) fn one_at_a_time(seen: &[Seen]) {
    let mut last: BTreeMap<(i32, &str), &Seen> = BTreeMap::new();
    for seen in seen {
        if let Some(before) = last.insert((seen.partition, &seen.key), seen) {
            assert!(
                before
                    .ended
                    .or(before.gone)
                    .is_some_and(|over| over <= seen.began),
                "{before:?} was still at work when {seen:?} began"
            );
        }
    }
}

/// Sees that in each partition no owner began anything after a later one had: the first part of `barnabas-fence` grows.
///
/// # Panics
/// If one did.
#[track_caller]
pub(crate) fn owners_in_turn(seen: &[Seen]) {
    let mut last: BTreeMap<i32, u64> = BTreeMap::new();
    for seen in seen {
        let token = seen.fence.split('.').next().and_then(|token| token.parse().ok());
        let token: u64 = token.unwrap_or_else(|| panic!("no fence: {seen:?}"));
        let before = last.insert(seen.partition, token).unwrap_or(0);
        assert!(
            before <= token,
            "a former owner began {seen:?} after token {before}"
        );
    }
}
