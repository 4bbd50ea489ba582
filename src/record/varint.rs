//! Zig-zag variable-length integers, as in protobuf: seven bits a byte, low ones first.

/// The longest encoding of a 32-bit integer, in bytes.
pub(crate) const MAX_VARINT: usize = 5;
/// The longest encoding of a 64-bit integer, in bytes.
pub(crate) const MAX_VARLONG: usize = 10;

fn zigzag(value: i64) -> u64 {
    value.cast_unsigned().wrapping_shl(1) ^ (value >> 63).cast_unsigned()
}

fn unzigzag(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
}

/// How many bytes [`put`] will write. A varint of an `i32` is the same bytes as a varlong of its value.
#[inline]
pub(crate) fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    // ceil(bits / 7) without a division.
    (bits * 9 + 64) / 64
}

/// Writes into `out` from `at` on, and returns the index behind it. `out` must have room.
#[inline]
pub(crate) fn put(out: &mut [u8], mut at: usize, value: i64) -> usize {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        out[at] = (raw & 0x7f) as u8 | 0x80;
        raw >>= 7;
        at += 1;
    }
    out[at] = (raw & 0x7f) as u8;
    at + 1
}

/// A cursor over bytes whose reads fail at the end instead of panicking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Bytes not read yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// A 32-bit integer; `None` at the end of the bytes or if it is longer than 32 bits.
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<i32> {
        match self.rest {
            [first, rest @ ..] if *first < 0x80 => {
                self.rest = rest;
                i32::try_from(unzigzag(u64::from(*first))).ok()
            }
            [first, second, rest @ ..] if *second < 0x80 => {
                self.rest = rest;
                i32::try_from(unzigzag(u64::from(*first & 0x7f) | u64::from(*second) << 7)).ok()
            }
            _ => self
                .long::<MAX_VARINT>()
                .and_then(|raw| u32::try_from(raw).ok())
                .map(|raw| {
                    let raw = u64::from(raw);
                    // An unsigned 32-bit number unfolds to a signed 32-bit one: this never fails.
                    i32::try_from(unzigzag(raw)).unwrap_or_default()
                }),
        }
    }

    /// A 64-bit integer; `None` at the end of the bytes or if it is longer than 64 bits.
    #[inline]
    pub(crate) fn varlong(&mut self) -> Option<i64> {
        match self.rest {
            [first, rest @ ..] if *first < 0x80 => {
                self.rest = rest;
                Some(unzigzag(u64::from(*first)))
            }
            _ => self.long::<MAX_VARLONG>().map(unzigzag),
        }
    }

    /// A length, where -1 stands for null: `None` if malformed, `Some(None)` for null.
    #[inline]
    pub(crate) fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => self.take(usize::try_from(length).ok()?).map(Some),
        }
    }

    fn long<const MAX: usize>(&mut self) -> Option<u64> {
        let mut raw = 0u64;
        for (index, &byte) in self.rest.iter().take(MAX).enumerate() {
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * index;
            // The tenth byte has room for one bit only.
            if bits << shift >> shift != bits {
                return None;
            }
            raw |= bits << shift;
            if byte < 0x80 {
                self.rest = self.rest.get(index + 1..)?;
                return Some(raw);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: i64) -> Vec<u8> {
        let mut out = [0; MAX_VARLONG];
        let end = put(&mut out, 0, value);
        out[..end].to_vec()
    }

    #[test]
    fn the_known_encodings_are_written() {
        assert_eq!(written(0), [0]);
        assert_eq!(written(-1), [1]);
        assert_eq!(written(1), [2]);
        assert_eq!(written(63), [0x7e]);
        assert_eq!(written(-64), [0x7f]);
        assert_eq!(written(64), [0x80, 0x01]);
        assert_eq!(written(i64::from(i32::MIN)), [0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(
            written(i64::MIN),
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]
        );
    }

    #[test]
    fn every_edge_of_a_length_is_read_back_and_its_size_foretold() {
        for bits in 0..64 {
            for value in [
                1i64 << bits,
                (1i64 << bits).wrapping_sub(1),
                (1i64 << bits).wrapping_add(1),
            ] {
                for value in [value, value.wrapping_neg()] {
                    let bytes = written(value);
                    assert_eq!(bytes.len(), size(value), "{value}");
                    let mut reader = Reader::new(&bytes);
                    assert_eq!(reader.varlong(), Some(value));
                    assert!(reader.rest().is_empty());
                    let mut reader = Reader::new(&bytes);
                    assert_eq!(
                        reader.varint().map(i64::from),
                        i32::try_from(value).ok().map(i64::from),
                        "{value}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_unfinished_or_overlong_number_is_refused() {
        assert_eq!(Reader::new(&[]).varint(), None);
        assert_eq!(Reader::new(&[0x80]).varint(), None);
        assert_eq!(Reader::new(&[0x80, 0x80]).varint(), None);
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x10]).varint(), None);
        assert_eq!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).varint(), None);
        assert_eq!(Reader::new(&[0xff; 11]).varlong(), None);
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).varlong(),
            None
        );
    }

    #[test]
    fn a_length_of_minus_one_is_null_and_one_below_is_malformed() {
        assert_eq!(Reader::new(&[1]).nullable(), Some(None));
        assert_eq!(Reader::new(&[0]).nullable(), Some(Some(&[][..])));
        assert_eq!(Reader::new(&[3]).nullable(), None);
        assert_eq!(Reader::new(&[4, 9]).nullable(), None);
    }
}
