//! The handler that all post to: HTTP/1.1, kept alive, as little as can be.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::input::POISON;
use crate::tally::{self, Tally};

/// Bytes of a connection that are read at once.
const READ: usize = 16 << 10;
/// A head with its body may be as large.
const MAX_REQUEST: usize = 1 << 20;

const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const FAILED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 204 at once.
    Done,
    /// 500 to poison, for ever; 204 to others.
    Poison,
    /// 204 after a time, which costs no CPU.
    After(Duration),
    /// Nothing.
    Never,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) tally: tally::Settings,
    pub(crate) answer: Answer,
}

/// A request as far as it matters.
struct Request<'a> {
    id: &'a [u8],
    /// Head and body, in bytes.
    len: usize,
}

/// Runs until it is killed.
pub(crate) fn run(settings: &Settings) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| runtime.block_on(serve(settings)));
    served.map_err(|error| format!("sink: {error}"))
}

async fn serve(settings: &Settings) -> io::Result<()> {
    let mut tally = Tally::new(&settings.tally)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    tally.say(&format!("port {}", listener.local_addr()?.port()))?;
    let (tally, answer) = (Arc::new(Mutex::new(tally)), settings.answer);
    loop {
        let (stream, _) = listener.accept().await?;
        let tally = Arc::clone(&tally);
        tokio::spawn(async move {
            // Its client is told by the end of the connection, and the harness by what is missing then.
            let _ = answer_all(stream, &tally, answer).await;
        });
    }
}

async fn answer_all(mut stream: TcpStream, tally: &Mutex<Tally>, answer: Answer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(READ);
    let mut answers = Vec::new();
    loop {
        let mut taken = 0;
        while let Some(request) = parse(&buffer[taken..])? {
            taken += request.len;
            let poison = request.id.starts_with(POISON);
            if !poison {
                tally
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .note(request.id)?;
            }
            match answer {
                Answer::Never => {}
                Answer::Poison if poison => answers.extend_from_slice(FAILED),
                Answer::Done | Answer::Poison => answers.extend_from_slice(NO_CONTENT),
                Answer::After(time) => {
                    tokio::time::sleep(time).await;
                    answers.extend_from_slice(NO_CONTENT);
                }
            }
        }
        buffer.drain(..taken);
        if !answers.is_empty() {
            stream.write_all(&answers).await?;
            answers.clear();
        }
        buffer.reserve(READ);
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// The first request of these bytes, once it is whole.
fn parse(bytes: &[u8]) -> io::Result<Option<Request<'_>>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > MAX_REQUEST {
            Err(io::Error::other("a head without an end"))
        } else {
            Ok(None)
        };
    };
    let (mut id, mut body) = (&b""[..], 0);
    for line in bytes[..end].split(|byte| *byte == b'\n') {
        if let Some(value) = value(line, b"ce-id:") {
            id = value;
        } else if let Some(value) = value(line, b"content-length:") {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            body = number.ok_or_else(|| io::Error::other("no length"))?;
        } else if value(line, b"transfer-encoding:").is_some() {
            return Err(io::Error::other("only bodies of a known length are read"));
        }
    }
    let len = end + 4 + body;
    if len > MAX_REQUEST {
        return Err(io::Error::other("too long"));
    }
    Ok((bytes.len() >= len).then_some(Request { id, len }))
}

fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (begin, value) = line.split_at_checked(name.len())?;
    begin.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}
