//! Why a line was not published.

/// A line that is not published, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {refusal}")]
pub struct InputError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub refusal: Refusal,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More bytes than the topic takes; the line was not buffered.
    #[error("{bytes} bytes are more than the {limit} that a record may have")]
    TooLarge {
        /// The bytes of the line, or of the key and value that it describes.
        bytes: u64,
        /// The most that key and value may have together, in bytes.
        limit: usize,
    },
    /// Not UTF-8 in a JSON format.
    #[error("not UTF-8 at byte {column}")]
    Utf8 {
        /// The first byte that is wrong, from 1.
        column: usize,
    },
    /// Not JSON, or not JSON of the shape that is needed.
    #[error("{reason} at byte {column}")]
    Json {
        /// Where, in bytes from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The key field is not there.
    #[error("there is nothing at {pointer} to take the key from")]
    NoKey {
        /// The JSON pointer that found nothing.
        pointer: String,
    },
}

impl Refusal {
    /// A refusal at byte `offset` (from 0) of the line.
    pub(super) fn at(offset: usize, reason: impl Into<String>) -> Self {
        Self::Json {
            column: offset + 1,
            reason: reason.into(),
        }
    }

    /// serde_json's error about text that starts at byte `offset` (from 0) of a line.
    pub(super) fn json(error: &serde_json::Error, text: &str, offset: usize) -> Self {
        // serde_json counts lines too, which matters only where the delimiter is not the newline.
        let before: usize = text
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        let reason = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let reason = reason.strip_suffix(&place).unwrap_or(&reason).to_owned();
        Self::Json {
            column: offset + before + error.column().max(1),
            reason,
        }
    }
}

/// `line` as text, or where it is not UTF-8.
pub(super) fn text(line: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(line).map_err(|error| Refusal::Utf8 {
        column: error.valid_up_to() + 1,
    })
}
