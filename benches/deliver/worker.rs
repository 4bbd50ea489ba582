//! The worker for `--exec`: says yes to all, in as large pieces as it reads.

use std::io::{self, BufRead, BufReader, BufWriter, Write};

use memchr::memmem;

use crate::tally::{self, Tally};

/// Runs until its input ends.
pub(crate) fn run(settings: &tally::Settings) -> Result<(), String> {
    answer_all(settings).map_err(|error| format!("worker: {error}"))
}

fn answer_all(settings: &tally::Settings) -> io::Result<()> {
    let mut tally = Tally::new(settings)?;
    let mut input = BufReader::with_capacity(64 << 10, io::stdin().lock());
    let mut output = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut line = Vec::new();
    let event_id = memmem::Finder::new(br#""event":"#);
    while input.read_until(b'\n', &mut line)? > 0 {
        let wrong = || io::Error::other(format!("not a delivery: {}", String::from_utf8_lossy(&line)));
        let number = line.strip_prefix(br#"{"id":"#).ok_or_else(wrong)?;
        let end = memchr::memchr(b',', number).ok_or_else(wrong)?;
        let event = event_id.find(&line).ok_or_else(wrong)?;
        let event = &line[event..];
        let id = memmem::find(event, br#""id":""#).ok_or_else(wrong)? + 6;
        let id_end = memchr::memchr(b'"', &event[id..]).ok_or_else(wrong)?;
        tally.note(&event[id..id + id_end])?;
        output.write_all(br#"{"id":"#)?;
        output.write_all(&number[..end])?;
        output.write_all(b",\"ok\":true}\n")?;
        if input.buffer().is_empty() {
            output.flush()?;
        }
        line.clear();
    }
    Ok(())
}
