//! kcat's `-f` templates.

use super::{Source, number};
use crate::produce::input::unescape;
use crate::record::RecordView;
use std::str::FromStr;

/// A parsed `-f` template.
///
/// | token | prints |
/// | --- | --- |
/// | `%s` `%k` | value, key; nothing for null, or `NULL` with `-Z` |
/// | `%S` `%K` | their length in bytes, −1 for null |
/// | `%R` | the value's length in bytes as 4 bytes, big-endian, −1 for null |
/// | `%t` `%p` `%o` | topic, partition, offset |
/// | `%T` | timestamp in milliseconds since the epoch, −1 for none |
/// | `%h` | headers: `name=value,name=value`, `NULL` for null |
/// | `%%` `\n` `\r` `\t` `\0` `\\` `\xNN` | that character or byte |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    Value,
    ValueLength,
    ValueLengthBinary,
    Key,
    KeyLength,
    Timestamp,
    Headers,
    Topic,
    Partition,
    Offset,
}

/// Text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// A token that is not known.
    #[error("unknown token %{token} at character {position}: known are %s %S %R %k %K %t %p %o %T %h and %%")]
    Token {
        /// The character behind the percent sign.
        token: char,
        /// Where the percent sign is, in characters from 1.
        position: usize,
    },
    /// A percent sign with nothing behind it.
    #[error("the % at the end (character {position}) has no token: a percent sign is written %%")]
    Unfinished {
        /// Where the percent sign is, in characters from 1.
        position: usize,
    },
    /// An escape that is not known.
    #[error("unknown escape {escape:?} at character {position}: known are \\n \\r \\t \\0 \\\\ and \\xNN")]
    Escape {
        /// The escape as written.
        escape: String,
        /// Where, in characters from 1.
        position: usize,
    },
}

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, BadTemplate> {
        let mut tokens = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let position = || text.chars().count() - rest.chars().count() + 1;
            let mut length = c.len_utf8();
            match c {
                '%' => {
                    let token = rest
                        .chars()
                        .nth(1)
                        .ok_or_else(|| BadTemplate::Unfinished { position: position() })?;
                    length += token.len_utf8();
                    match token_of(token) {
                        Some(token) => {
                            if !literal.is_empty() {
                                tokens.push(Token::Literal(std::mem::take(&mut literal)));
                            }
                            tokens.push(token);
                        }
                        None if token == '%' => literal.push(b'%'),
                        None => {
                            return Err(BadTemplate::Token {
                                token,
                                position: position(),
                            });
                        }
                    }
                }
                '\\' => {
                    let (byte, escape) = unescape(rest).ok_or_else(|| BadTemplate::Escape {
                        escape: rest.chars().take(2).collect(),
                        position: position(),
                    })?;
                    literal.push(byte);
                    length = escape;
                }
                _ => literal.extend_from_slice(&rest.as_bytes()[..length]),
            }
            rest = &rest[length..];
        }
        if !literal.is_empty() {
            tokens.push(Token::Literal(literal));
        }
        Ok(Self { tokens })
    }
}

fn token_of(c: char) -> Option<Token> {
    Some(match c {
        's' => Token::Value,
        'S' => Token::ValueLength,
        'R' => Token::ValueLengthBinary,
        'k' => Token::Key,
        'K' => Token::KeyLength,
        'T' => Token::Timestamp,
        'h' => Token::Headers,
        't' => Token::Topic,
        'p' => Token::Partition,
        'o' => Token::Offset,
        _ => return None,
    })
}

impl Template {
    /// Appends one record; `null` stands for a null key or value.
    pub(super) fn print(&self, source: Source<'_>, record: &RecordView<'_>, null: &[u8], out: &mut Vec<u8>) {
        for token in &self.tokens {
            match token {
                Token::Literal(bytes) => out.extend_from_slice(bytes),
                Token::Value => out.extend_from_slice(record.value.unwrap_or(null)),
                Token::Key => out.extend_from_slice(record.key.unwrap_or(null)),
                Token::ValueLength => number::append_length(record.value, out),
                Token::KeyLength => number::append_length(record.key, out),
                Token::ValueLengthBinary => {
                    let length = record
                        .value
                        .map_or(-1, |value| i32::try_from(value.len()).unwrap_or(i32::MAX));
                    out.extend_from_slice(&length.to_be_bytes());
                }
                Token::Timestamp => number::append(record.timestamp, out),
                Token::Topic => out.extend_from_slice(source.topic.as_bytes()),
                Token::Partition => number::append(source.partition.into(), out),
                Token::Offset => number::append(record.offset, out),
                Token::Headers => {
                    for (i, (name, value)) in record.headers.iter().enumerate() {
                        if i > 0 {
                            out.push(b',');
                        }
                        out.extend_from_slice(name);
                        out.push(b'=');
                        out.extend_from_slice(value.unwrap_or(b"NULL"));
                    }
                }
            }
        }
    }
}
