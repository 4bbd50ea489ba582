//! The events: CloudEvents in binary mode with about 200 bytes of JSON, made the same on each machine.

use std::io::{self, Write};

/// Digits at the end of an event's id.
pub(crate) const DIGITS: usize = 12;
/// What the id of an event begins with that a sink may refuse for ever.
pub(crate) const POISON: &[u8] = b"dead";

/// What a topic is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Input {
    /// The first event's number.
    pub(crate) first: u64,
    /// Events that are not poison.
    pub(crate) events: u64,
    /// Of the topic.
    pub(crate) partitions: i32,
    /// Keys that they have.
    pub(crate) keys: u64,
    /// Events of one further key, spread evenly.
    pub(crate) poison: u64,
}

impl Input {
    /// With 10,000 keys in 6 partitions, and no poison.
    pub(crate) fn plain(events: u64) -> Self {
        Self {
            first: 0,
            events,
            partitions: 6,
            keys: 10_000,
            poison: 0,
        }
    }

    /// All lines, as `produce --format json` reads them.
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut poison = 0;
        for number in 0..self.events {
            // In proportion: after so many of all, so many of these.
            while poison * self.events < self.poison * number {
                write_line(to, poison, None)?;
                poison += 1;
            }
            write_line(to, self.first + number, Some(key(number, self.keys)))?;
        }
        for last in poison..self.poison {
            write_line(to, last, None)?;
        }
        Ok(())
    }
}

/// Any order but the one in which they would take turns.
pub(crate) fn key(number: u64, keys: u64) -> u64 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % keys
}

/// The id of an event; `None` is the poison's key.
pub(crate) fn id(number: u64, key: Option<u64>) -> String {
    let begin = if key.is_some() { "0f8fad5b" } else { "deadad5b" };
    format!("{begin}-d9cb-469f-a165-{number:0DIGITS$}")
}

/// Its data: 200 bytes.
pub(crate) fn data(number: u64, key: Option<u64>) -> String {
    let customer = key.map_or_else(|| "poison".to_owned(), |key| format!("{key:06}"));
    format!(
        r#"{{"order":"{number:012}","customer":"customer-{customer}","total":{{"amount":129.95,"currency":"EUR"}},"items":[{{"sku":"A-1","count":2}},{{"sku":"B-7","count":1}}],"note":"ring twice, then wait at the gate"}}"#
    )
}

/// Attributes as headers of the record, but for the id.
pub(crate) const ATTRIBUTES: [(&str, &str); 5] = [
    ("ce_specversion", "1.0"),
    ("ce_source", "/shop"),
    ("ce_type", "order.completed"),
    ("ce_time", "2026-11-01T00:00:00Z"),
    ("content-type", "application/json"),
];

fn write_line(to: &mut impl Write, number: u64, key: Option<u64>) -> io::Result<()> {
    let (id, data) = (id(number, key), data(number, key));
    let customer = key.map_or_else(|| "poison".to_owned(), |key| format!("{key:06}"));
    write!(to, r#"{{"key":"customer-{customer}","headers":["ce_id","{id}""#)?;
    for (name, value) in ATTRIBUTES {
        write!(to, r#","{name}","{value}""#)?;
    }
    writeln!(to, r#"],"value":{data}}}"#)
}
