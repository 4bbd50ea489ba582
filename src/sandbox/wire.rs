//! Kafka's primitive types, read from a request and written into a response. Pure.
//!
//! Written by hand, and not `kafka-protocol`'s generated codecs, for three reasons: client and sandbox share no code
//! that could be wrong in the same way on both sides; record sets stay slices of the frame they came in, on the way in
//! as on the way out; and the generated codecs of the other direction would have taken about 300 KB of the binary.
//! `tests/sandbox/versions.rs` holds them against `kafka-protocol`'s, version by version.

use bytes::{Buf, Bytes, BytesMut};

/// A request that ends too early, or whose lengths make no sense: the connection is closed, as Kafka does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What reading gives.
pub(crate) type Read<T> = Result<T, Malformed>;

/// Record sets shorter than this many bytes are copied into the response: a slice of their own costs more.
const COPIED: usize = 2048;

/// A request's bytes.
pub(crate) struct Reader {
    frame: BytesMut,
    /// Compact lengths and tagged fields.
    pub(crate) flexible: bool,
}

impl Reader {
    /// Of a frame without its length.
    pub(crate) fn new(frame: BytesMut) -> Self {
        Reader {
            frame,
            flexible: false,
        }
    }

    fn need(&self, bytes: usize) -> Read<()> {
        if self.frame.len() < bytes {
            Err(Malformed)
        } else {
            Ok(())
        }
    }

    pub(crate) fn i8(&mut self) -> Read<i8> {
        self.need(1)?;
        Ok(self.frame.get_i8())
    }

    pub(crate) fn bool(&mut self) -> Read<bool> {
        Ok(self.i8()? != 0)
    }

    pub(crate) fn i16(&mut self) -> Read<i16> {
        self.need(2)?;
        Ok(self.frame.get_i16())
    }

    pub(crate) fn i32(&mut self) -> Read<i32> {
        self.need(4)?;
        Ok(self.frame.get_i32())
    }

    pub(crate) fn i64(&mut self) -> Read<i64> {
        self.need(8)?;
        Ok(self.frame.get_i64())
    }

    pub(crate) fn uuid(&mut self) -> Read<u128> {
        self.need(16)?;
        Ok(self.frame.get_u128())
    }

    fn unsigned(&mut self) -> Read<u32> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            self.need(1)?;
            let byte = self.frame.get_u8();
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A length in four bytes, or in a varint that is one higher.
    fn length(&mut self) -> Read<Option<usize>> {
        if self.flexible {
            return Ok(usize::try_from(self.unsigned()?)
                .map_err(|_| Malformed)?
                .checked_sub(1));
        }
        match self.i32()? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Malformed),
        }
    }

    /// A string's length has two bytes where it is not compact.
    fn string_length(&mut self) -> Read<Option<usize>> {
        if self.flexible {
            return self.length();
        }
        match self.i16()? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Malformed),
        }
    }

    pub(crate) fn maybe_string(&mut self) -> Read<Option<String>> {
        let Some(length) = self.string_length()? else {
            return Ok(None);
        };
        self.need(length)?;
        let text = std::str::from_utf8(&self.frame[..length])
            .map_err(|_| Malformed)?
            .to_owned();
        self.frame.advance(length);
        Ok(Some(text))
    }

    pub(crate) fn string(&mut self) -> Read<String> {
        self.maybe_string()?.ok_or(Malformed)
    }

    /// Bytes as a part of the frame that may be written to.
    pub(crate) fn maybe_bytes(&mut self) -> Read<Option<BytesMut>> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        self.need(length)?;
        Ok(Some(self.frame.split_to(length)))
    }

    /// Bytes to be kept for long, copied out of the frame.
    pub(crate) fn bytes(&mut self) -> Read<Bytes> {
        let bytes = self.maybe_bytes()?.ok_or(Malformed)?;
        Ok(Bytes::copy_from_slice(&bytes))
    }

    pub(crate) fn maybe_array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Option<Vec<T>>> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        // No element is shorter than a byte, so a claimed length cannot make it take much memory.
        self.need(length)?;
        (0..length)
            .map(|_| element(self))
            .collect::<Read<Vec<T>>>()
            .map(Some)
    }

    pub(crate) fn array<T>(&mut self, element: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.maybe_array(element).map(Option::unwrap_or_default)
    }

    /// Skips the tagged fields, of which the sandbox needs none.
    pub(crate) fn tags(&mut self) -> Read<()> {
        if self.flexible {
            for _ in 0..self.unsigned()? {
                self.unsigned()?;
                let length = usize::try_from(self.unsigned()?).map_err(|_| Malformed)?;
                self.need(length)?;
                self.frame.advance(length);
            }
        }
        Ok(())
    }

    /// A client's name in the header, whose length is never compact.
    pub(crate) fn client_id(&mut self) -> Read<String> {
        let flexible = std::mem::take(&mut self.flexible);
        let name = self.maybe_string();
        self.flexible = flexible;
        Ok(name?.unwrap_or_default())
    }
}

/// A response's bytes: pieces in order, some of which are slices of what was once received.
#[derive(Debug)]
pub(crate) struct Writer {
    pieces: Vec<Bytes>,
    tail: Vec<u8>,
    flexible: bool,
}

impl Writer {
    pub(crate) fn new(flexible: bool) -> Self {
        Writer {
            pieces: Vec::new(),
            tail: Vec::new(),
            flexible,
        }
    }

    /// What follows is written in this way.
    pub(crate) fn with_flexible(self, flexible: bool) -> Self {
        Writer { flexible, ..self }
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.tail.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.tail.push(u8::from(value));
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.tail.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.tail.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.tail.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn uuid(&mut self, value: u128) {
        self.tail.extend_from_slice(&value.to_be_bytes());
    }

    fn unsigned(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.tail.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.tail.push(value.to_le_bytes()[0]);
    }

    fn length(&mut self, length: Option<usize>) {
        // Nothing that a sandbox holds is beyond 2 GiB: frames are bounded.
        let length = length.map(|length| i32::try_from(length).unwrap_or(i32::MAX));
        if self.flexible {
            self.unsigned(length.map_or(0, |length| length.unsigned_abs().saturating_add(1)));
        } else {
            self.i32(length.unwrap_or(-1));
        }
    }

    pub(crate) fn maybe_string(&mut self, text: Option<&str>) {
        if self.flexible {
            self.length(text.map(str::len));
        } else {
            self.i16(text.map_or(-1, |text| i16::try_from(text.len()).unwrap_or(i16::MAX)));
        }
        // A longer one cannot have come in, nor is one made.
        self.tail.extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.maybe_string(Some(text));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.length(Some(bytes.len()));
        self.tail.extend_from_slice(bytes);
    }

    /// A record set out of batches.
    pub(crate) fn records(&mut self, batches: &[Bytes]) {
        self.length(Some(batches.iter().map(Bytes::len).sum()));
        for batch in batches {
            if batch.len() < COPIED {
                self.tail.extend_from_slice(batch);
            } else {
                self.seal();
                self.pieces.push(batch.clone());
            }
        }
    }

    pub(crate) fn array<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.length(Some(items.len()));
        for item in items {
            write(self, item);
        }
    }

    pub(crate) fn null_array(&mut self) {
        self.length(None);
    }

    /// No tagged fields.
    pub(crate) fn tags(&mut self) {
        if self.flexible {
            self.tail.push(0);
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(std::mem::take(&mut self.tail).into());
        }
    }

    /// The frame: its length in four bytes, and the pieces.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.seal();
        let length: usize = self.pieces.iter().map(Bytes::len).sum();
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        match self.pieces.first_mut() {
            // The first piece is what this writer wrote itself: a header at the least.
            Some(first) => *first = [&length[..], &first[..]].concat().into(),
            None => self.pieces.push(Bytes::copy_from_slice(&length)),
        }
        self.pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8], flexible: bool) -> Reader {
        let mut reader = Reader::new(BytesMut::from(bytes));
        reader.flexible = flexible;
        reader
    }

    #[test]
    fn what_is_written_is_read_again_compact_or_not() {
        for flexible in [false, true] {
            let mut writer = Writer::new(flexible);
            writer.string("topic");
            writer.maybe_string(None);
            writer.array([1, 2, 300].iter(), |w, value| w.i32(*value));
            writer.null_array();
            writer.bytes(&[7; 200]);
            writer.tags();
            let frame = writer.finish().concat();
            let mut read = reader(&frame[4..], flexible);
            assert_eq!(read.string(), Ok("topic".to_owned()));
            assert_eq!(read.maybe_string(), Ok(None));
            assert_eq!(read.array(Reader::i32), Ok(vec![1, 2, 300]));
            assert_eq!(read.maybe_array(Reader::i32), Ok(None));
            assert_eq!(read.bytes(), Ok(Bytes::from_static(&[7; 200])));
            assert_eq!(read.tags(), Ok(()));
            assert_eq!(read.i8(), Err(Malformed));
        }
    }

    #[test]
    fn lengths_beyond_the_frame_are_malformed() {
        assert_eq!(
            reader(&[0x7f, 0xff, 0xff, 0xff], false).array(Reader::i8),
            Err(Malformed)
        );
        assert_eq!(
            reader(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).array(Reader::i8),
            Err(Malformed)
        );
        assert_eq!(reader(&[0, 5, b'a'], false).string(), Err(Malformed));
        assert_eq!(reader(&[0xff; 6], true).tags(), Err(Malformed));
        assert_eq!(reader(&[0, 1, 0xff], false).string(), Err(Malformed));
    }

    #[test]
    fn large_batches_go_out_as_they_are_kept() {
        let large = Bytes::from(vec![1; COPIED]);
        let mut writer = Writer::new(false);
        writer.i32(5);
        writer.records(&[Bytes::from_static(b"small"), large.clone()]);
        writer.i32(6);
        let pieces = writer.finish();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[1].as_ptr(), large.as_ptr());
        let length = pieces.iter().map(Bytes::len).sum::<usize>() - 4;
        assert_eq!(&pieces[0][..4], &u32::try_from(length).unwrap().to_be_bytes());
    }
}
