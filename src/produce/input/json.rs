//! Pieces of JSON text as record bytes.

use super::Refusal;
use base64::Engine as _;
use serde_json::value::RawValue;

/// Bytes of a record: as they stand in the line, or decoded.
#[derive(Debug)]
pub(super) enum Piece<'l> {
    Line(&'l [u8]),
    /// In the scratch buffer, from and to (exclusive).
    Scratch(usize, usize),
}

impl<'l> Piece<'l> {
    /// The bytes, once the scratch buffer has all of them.
    pub(super) fn bytes<'a>(&self, scratch: &'a [u8]) -> &'a [u8]
    where
        'l: 'a,
    {
        match *self {
            Self::Line(bytes) => bytes,
            Self::Scratch(from, to) => &scratch[from..to],
        }
    }
}

/// `part` of `line`: its offset in bytes. Parts are slices that serde_json lent from the line.
pub(super) fn offset_in(line: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize)
}

/// The text of the JSON string `quoted`, which stands at byte `offset` of the line and is known to be well-formed but
/// for its surrogates.
pub(super) fn string<'l>(
    quoted: &'l str,
    offset: usize,
    scratch: &mut Vec<u8>,
) -> Result<Piece<'l>, Refusal> {
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else {
        return Err(Refusal::at(offset, "expected a string"));
    };
    let inner = inner.as_bytes();
    if memchr::memchr(b'\\', inner).is_none() {
        return Ok(Piece::Line(inner));
    }
    let start = scratch.len();
    // Decoded text is never longer than escaped text.
    scratch.resize(start + inner.len(), 0);
    let out = &mut scratch[start..];
    let (mut from, mut to) = (0, 0);
    while from < inner.len() {
        // By words, of which each is written whole even where only its start is wanted: escapes are close together in
        // JSON inside of JSON, and a search and a copy for each would cost twice as much.
        if let (Some(word), Some(target)) = (inner[from..].first_chunk(), out[to..].first_chunk_mut()) {
            *target = *word;
            let clean = before_backslash(*word);
            from += clean;
            to += clean;
            if clean == word.len() {
                continue;
            }
        } else if inner[from] != b'\\' {
            out[to] = inner[from];
            from += 1;
            to += 1;
            continue;
        }
        let (length, bytes) = unescape(&inner[from..], &mut out[to..])
            .map_err(|reason| Refusal::at(offset + 1 + from, reason))?;
        from += length;
        to += bytes;
    }
    scratch.truncate(start + to);
    Ok(Piece::Scratch(start, start + to))
}

/// How many bytes stand before the first backslash; 8 if there is none.
#[inline]
fn before_backslash(word: [u8; 8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let zeros = u64::from_le_bytes(word) ^ (ONES * b'\\' as u64);
    // The lowest byte that is found is right; those above it may not be.
    let found = zeros.wrapping_sub(ONES) & !zeros & (ONES * 0x80);
    (found.trailing_zeros() / 8) as usize
}

/// Decodes the escape that `text` starts with to the start of `out`; returns the lengths in bytes of both.
#[inline]
fn unescape(text: &[u8], out: &mut [u8]) -> Result<(usize, usize), &'static str> {
    const BAD: &str = "unknown escape";
    let byte = match text.get(1).ok_or(BAD)? {
        byte @ (b'"' | b'\\' | b'/') => *byte,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let (c, length) = unescape_unicode(text)?;
            return Ok((length, c.encode_utf8(out).len()));
        }
        _ => return Err(BAD),
    };
    out[0] = byte;
    Ok((2, 1))
}

/// The character of the `\uXXXX`, or pair of them, that `text` starts with, and the length in bytes.
fn unescape_unicode(text: &[u8]) -> Result<(char, usize), &'static str> {
    const LONE: &str = "half a surrogate pair (bytes that are not text go as {\"base64\":\"…\"})";
    let first = hex4(text, 2).ok_or("unknown escape")?;
    let (code, length) = match first {
        0xD800..0xDC00 => {
            let second = if text.get(6..8) == Some(b"\\u") {
                hex4(text, 8)
            } else {
                None
            };
            let second = second
                .filter(|second| (0xDC00..0xE000).contains(second))
                .ok_or(LONE)?;
            (0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00), 12)
        }
        _ => (first, 6),
    };
    Ok((char::from_u32(code).ok_or(LONE)?, length))
}

fn hex4(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + 4)?;
    digits.iter().try_fold(0, |code, &digit| {
        Some(code << 4 | char::from(digit).to_digit(16)?)
    })
}

/// The bytes that a JSON value stands for: null for null, a string's text, what `{"base64":"…"}` encodes, and the JSON
/// text of anything else.
pub(super) fn bytes<'l>(
    line: &str,
    raw: &'l str,
    scratch: &mut Vec<u8>,
) -> Result<Option<Piece<'l>>, Refusal> {
    match raw.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => string(raw, offset_in(line, raw), scratch).map(Some),
        Some(b'{') => match base64_text(raw) {
            Some(quoted) => base64(line, quoted, scratch).map(Some),
            None => Ok(Some(Piece::Line(raw.as_bytes()))),
        },
        _ => Ok(Some(Piece::Line(raw.as_bytes()))),
    }
}

/// The quoted string of an object that is `{"base64":"…"}` and nothing else.
fn base64_text(raw: &str) -> Option<&str> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Base64<'a> {
        #[serde(borrow)]
        base64: &'a RawValue,
    }
    // Most objects are other ones: see that before parsing to their end.
    let inner = raw.strip_prefix('{')?.trim_ascii_start();
    if !inner.starts_with("\"base64\"") {
        return None;
    }
    let text = serde_json::from_str::<Base64<'_>>(raw).ok()?.base64.get();
    text.starts_with('"').then_some(text)
}

fn base64<'l>(line: &str, quoted: &str, scratch: &mut Vec<u8>) -> Result<Piece<'l>, Refusal> {
    let engine = base64::engine::general_purpose::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let offset = offset_in(line, quoted);
    let mut unescaped = Vec::new();
    let text = string(quoted, offset, &mut unescaped)?;
    let from = scratch.len();
    let bytes = engine
        .decode(text.bytes(&unescaped))
        .map_err(|error| Refusal::at(offset, format!("bad base64: {error}")))?;
    scratch.extend_from_slice(&bytes);
    Ok(Piece::Scratch(from, scratch.len()))
}

/// Appends `text`, which is well-formed JSON, without the spaces between its tokens.
pub(super) fn compact(text: &str, out: &mut Vec<u8>) {
    let (mut quoted, mut escaped) = (false, false);
    for &byte in text.as_bytes() {
        if quoted {
            (quoted, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
        } else if byte == b'"' {
            quoted = true;
        } else if byte.is_ascii_whitespace() {
            continue;
        }
        out.push(byte);
    }
}
