//! Delimiters, and plain lines with or without a key.

use memchr::memmem;

/// What ends a record or a key: one byte or several.
#[derive(Debug, Clone)]
pub(super) enum Delimiter {
    Byte(u8),
    Bytes(Box<memmem::Finder<'static>>),
}

impl Delimiter {
    /// A finder of `bytes`; of the newline, if they are empty.
    pub(super) fn new(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Byte(b'\n'),
            [byte] => Self::Byte(*byte),
            _ => Self::Bytes(Box::new(memmem::Finder::new(bytes).into_owned())),
        }
    }

    /// Bytes, at least 1.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Byte(_) => 1,
            Self::Bytes(finder) => finder.needle().len(),
        }
    }

    /// Where it first occurs.
    #[inline]
    pub(super) fn find(&self, haystack: &[u8]) -> Option<usize> {
        match self {
            Self::Byte(byte) => memchr::memchr(*byte, haystack),
            Self::Bytes(finder) => finder.find(haystack),
        }
    }

    /// Where in `left` it starts, if it ends in `right`.
    pub(super) fn find_across(&self, left: &[u8], right: &[u8]) -> Option<usize> {
        let overlap = self.len() - 1;
        let from = left.len() - overlap.min(left.len());
        let seam = [&left[from..], &right[..overlap.min(right.len())]].concat();
        self.find(&seam).map(|at| from + at)
    }
}

/// Key and value of a line, as kcat reads them: the key ends at the first key delimiter, and a line without one is all
/// value. `fixed_key` is for the lines without a key.
#[inline]
pub(super) fn split<'a>(
    line: &'a [u8],
    key_delimiter: Option<&Delimiter>,
    fixed_key: Option<&'a [u8]>,
    empty_is_null: bool,
) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
    let unless_empty = |bytes: &'a [u8]| (!empty_is_null || !bytes.is_empty()).then_some(bytes);
    let found = key_delimiter.and_then(|delimiter| Some((delimiter.find(line)?, delimiter.len())));
    match found {
        Some((at, length)) => (
            unless_empty(&line[..at]).or(fixed_key),
            unless_empty(&line[at + length..]),
        ),
        None => (fixed_key, unless_empty(line)),
    }
}

/// A delimiter that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDelimiter {
    /// It has no bytes.
    #[error("a delimiter needs at least one byte")]
    Empty,
    /// An escape that is not known.
    #[error("unknown escape {escape:?} at character {position}: known are \\n \\r \\t \\0 \\\\ and \\xNN")]
    Escape {
        /// The escape as written.
        escape: String,
        /// Where, in characters from 1.
        position: usize,
    },
}

/// The bytes of a delimiter as written on a command line: [`unescape_bytes`], but not empty.
///
/// # Errors
/// [`BadDelimiter`] if it is empty or has an unknown escape.
pub fn parse_delimiter(text: &str) -> Result<Vec<u8>, BadDelimiter> {
    let bytes = unescape_bytes(text)?;
    if bytes.is_empty() {
        Err(BadDelimiter::Empty)
    } else {
        Ok(bytes)
    }
}

/// The bytes of a text as written on a command line: `\n`, `\r`, `\t`, `\0`, `\\` and `\xNN` are unescaped.
///
/// # Errors
/// [`BadDelimiter::Escape`] if it has an unknown escape.
pub fn unescape_bytes(text: &str) -> Result<Vec<u8>, BadDelimiter> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c != '\\' {
            bytes.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (byte, length) = unescape(rest).ok_or_else(|| BadDelimiter::Escape {
            escape: rest.chars().take(2).collect(),
            position: text.chars().count() - rest.chars().count() + 1,
        })?;
        bytes.push(byte);
        rest = &rest[length..];
    }
    Ok(bytes)
}

/// The byte of the escape that `text` starts with, and the escape's length.
pub(crate) fn unescape(text: &str) -> Option<(u8, usize)> {
    let byte = match text.as_bytes().get(1)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'x' => {
            let digits = text
                .get(2..4)
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
            return Some((u8::from_str_radix(digits, 16).ok()?, 4));
        }
        _ => return None,
    };
    Some((byte, 2))
}
