//! A request on its way through the core, and what comes out of it. Pure.

use bytes::Bytes;

use super::keep::Keep;
use super::wire::{Reader, Writer};

/// The moment at which something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Milliseconds since the epoch, which a fault may shift: for timestamps and retention.
    pub(crate) wall: i64,
    /// Milliseconds of a clock that is never set: for waiting.
    pub(crate) mono: u64,
}

/// What is needed to answer a request later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// The listener's name for the request.
    pub(crate) ticket: u64,
    pub(crate) correlation: i32,
    pub(crate) version: i16,
    /// The response's body has compact lengths and tagged fields.
    pub(crate) flexible: bool,
    /// So has its header.
    pub(crate) flexible_header: bool,
    /// Told to the client as the time it is held back, in milliseconds.
    pub(crate) throttle: i32,
}

impl Envelope {
    /// The response, begun.
    pub(crate) fn writer(&self) -> Writer {
        let mut header = Writer::new(self.flexible_header);
        header.i32(self.correlation);
        header.tags();
        header.with_flexible(self.flexible)
    }
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address.
    pub(crate) host: String,
    /// Where it has reached the sandbox, host and port: what metadata tells it.
    pub(crate) reached: (String, u16),
}

/// A request.
pub(crate) struct Call {
    pub(crate) reader: Reader,
    pub(crate) envelope: Envelope,
    pub(crate) client: Client,
    pub(crate) client_id: String,
    pub(crate) now: Now,
    /// Size of the frame it came in, in bytes.
    pub(crate) size: usize,
}

impl Call {
    pub(crate) fn version(&self) -> i16 {
        self.envelope.version
    }
}

/// What a request came to.
pub(crate) enum Answer {
    /// A response.
    Send(Writer),
    /// None is wanted.
    Silent,
    /// It comes later.
    Waits,
    /// The connection is closed instead.
    Close,
}

/// What the listener has to do, in this order.
#[derive(Debug)]
pub(crate) enum Action {
    /// Answer a request.
    Reply {
        /// Which one.
        ticket: u64,
        /// The frame, in pieces.
        pieces: Vec<Bytes>,
        /// Then leave its connection alone for so many milliseconds.
        mute: u64,
    },
    /// The request has no answer: go on with the next one of its connection.
    Silence(u64),
    /// Close the request's connection.
    Close(u64),
    /// Write to the folder.
    Keep(Keep),
}
