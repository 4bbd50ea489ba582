//! The handler: it answers at once, and writes down what it is given.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::BAD;

/// What the sink has seen.
#[derive(Default)]
pub(crate) struct Book {
    /// Requests by the event's number.
    pub(crate) times: Vec<u8>,
    /// Where each was first; partition and offset.
    pub(crate) place: Vec<(u8, u32)>,
    /// Events that came from a second place.
    pub(crate) elsewhere: usize,
    /// Different events.
    pub(crate) different: usize,
    /// When each partition was delivered from first, since this was emptied.
    pub(crate) first: BTreeMap<usize, Instant>,
    pub(crate) replayed: usize,
    /// It refuses [`BAD`].
    pub(crate) refuses: bool,
}

pub(crate) type Shared = Arc<Mutex<Book>>;

pub(crate) fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sink that answers 204; its URL.
pub(crate) fn sink(book: &Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let book = Arc::clone(book);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let book = Arc::clone(&book);
            std::thread::spawn(move || drop(serve(&stream, &book)));
        }
    });
    url
}

fn serve(stream: &TcpStream, book: &Mutex<Book>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let (mut length, mut number, mut place, mut replay) = (0, 0, (0, 0), false);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line.trim_end().is_empty() {
                    break;
                }
                continue;
            };
            match name {
                "content-length" => length = value.parse().unwrap_or(0),
                "ce-id" => number = value.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0),
                "barnabas-replay" => replay = true,
                "barnabas-record" => {
                    let mut parts = value.rsplit('/');
                    let offset = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                    place = (parts.next().and_then(|n| n.parse().ok()).unwrap_or(0), offset);
                }
                _ => {}
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        let refuse = note(&mut lock(book), number, place, replay);
        let answer = if refuse { "422 X" } else { "204 X" };
        (&*stream).write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
    }
}

/// Whether the event is refused.
fn note(book: &mut Book, number: usize, place: (u8, u32), replay: bool) -> bool {
    if replay {
        book.replayed += 1;
        return false;
    }
    if book.times.len() <= number {
        book.times.resize(number + 1, 0);
        book.place.resize(number + 1, (0, 0));
    }
    book.first
        .entry(usize::from(place.0))
        .or_insert_with(Instant::now);
    if book.times[number] == 0 {
        book.place[number] = place;
        book.different += 1;
    } else if book.place[number] != place {
        book.elsewhere += 1;
    }
    book.times[number] = book.times[number].saturating_add(1);
    book.refuses && number == BAD
}
