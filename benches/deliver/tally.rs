//! What a handler has seen, and its report to the harness: each event is to come once.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use crate::input::DIGITS;

/// Of a handler.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where it reports to.
    pub(crate) report: String,
    /// Ids are smaller.
    pub(crate) ids: u64,
    /// So many different ones are all.
    pub(crate) expect: u64,
    /// Where the times of arrival go, by id.
    pub(crate) arrivals: Option<PathBuf>,
}

/// What was seen.
pub(crate) struct Tally {
    seen: Vec<u64>,
    arrivals: Vec<u64>,
    file: Option<PathBuf>,
    count: u64,
    repeats: u64,
    warm: u64,
    expect: u64,
    report: TcpStream,
}

/// Nanoseconds of the monotonic clock, which is the same in all processes.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

impl Tally {
    pub(crate) fn new(settings: &Settings) -> io::Result<Self> {
        let ids = usize::try_from(settings.ids).map_err(io::Error::other)?;
        Ok(Self {
            seen: vec![0; ids / 64 + 1],
            arrivals: vec![0; if settings.arrivals.is_some() { ids } else { 0 }],
            file: settings.arrivals.clone(),
            count: 0,
            repeats: 0,
            warm: (settings.expect / 10).max(1),
            expect: settings.expect,
            report: TcpStream::connect(&settings.report)?,
        })
    }

    /// Tells the harness something.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        self.report.write_all(format!("{line}\n").as_bytes())
    }

    /// An event has come.
    pub(crate) fn note(&mut self, id: &[u8]) -> io::Result<()> {
        let digits = &id[id.len().saturating_sub(DIGITS)..];
        let number = std::str::from_utf8(digits)
            .ok()
            .and_then(|text| text.parse::<usize>().ok());
        let Some((number, word)) = number.and_then(|number| Some((number, self.seen.get_mut(number / 64)?)))
        else {
            return self.say(&format!("unknown {}", String::from_utf8_lossy(id)));
        };
        if *word & (1 << (number % 64)) != 0 {
            self.repeats += 1;
            return Ok(());
        }
        *word |= 1 << (number % 64);
        self.count += 1;
        if let Some(arrival) = self.arrivals.get_mut(number) {
            *arrival = now();
        }
        if self.count == 1 {
            self.say("first")?;
        }
        if self.count == self.warm {
            self.say(&format!("warm {}", now()))?;
        }
        if self.count == self.expect {
            let at = now();
            if let Some(file) = &self.file {
                write_times(file, &self.arrivals)?;
            }
            self.say(&format!("done {at} {}", self.repeats))?;
        }
        Ok(())
    }
}

/// Writes times as bytes.
pub(crate) fn write_times(path: &Path, times: &[u64]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for time in times {
        file.write_all(&time.to_le_bytes())?;
    }
    file.flush()
}

/// Reads them back.
pub(crate) fn read_times(path: &Path) -> io::Result<Vec<u64>> {
    let bytes = std::fs::read(path)?;
    let times = bytes
        .chunks_exact(8)
        .map(|chunk| chunk.try_into().map(u64::from_le_bytes));
    times.collect::<Result<_, _>>().map_err(io::Error::other)
}

/// What a handler says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It listens.
    Port(u16),
    /// An event has come.
    First,
    /// A tenth has come, at this time.
    Warm(u64),
    /// All have come, at this time, and so many more than once.
    Done(u64, u64),
    /// Something that nobody sent.
    Unknown(String),
}

/// The harness' ear.
pub(crate) struct Reports {
    pub(crate) address: SocketAddr,
    lines: mpsc::Receiver<Said>,
}

impl Reports {
    /// For one handler.
    pub(crate) fn open() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if tell.send(read(&line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, lines })
    }

    /// The next report; `None` if there is none in time.
    pub(crate) fn next(&self, limit: Duration) -> Result<Option<Said>, String> {
        match self.lines.recv_timeout(limit) {
            Ok(said) => Ok(Some(said)),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err("the handler is gone".to_owned()),
        }
    }
}

fn read(line: &str) -> Said {
    let mut words = line.split(' ');
    let said = (|| match words.next()? {
        "port" => Some(Said::Port(words.next()?.parse().ok()?)),
        "first" => Some(Said::First),
        "warm" => Some(Said::Warm(words.next()?.parse().ok()?)),
        "done" => Some(Said::Done(
            words.next()?.parse().ok()?,
            words.next()?.parse().ok()?,
        )),
        _ => None,
    })();
    said.unwrap_or_else(|| Said::Unknown(line.to_owned()))
}
