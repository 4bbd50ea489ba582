//! What members, partitions, places in the log and ownerships are called.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A topic's name and the partition's number.
pub type PartitionId = (Arc<str>, i32);

/// Where a record lies in the log: the leader epoch in its batch's header, and its offset. In JSON `"epoch:offset"`.
///
/// Later is greater. A record that was written for a piece of the log that was lost names a position of an epoch
/// that no other record has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Position {
    epoch: i32,
    offset: i64,
}

impl Position {
    /// Before anything.
    pub const ZERO: Self = Self { epoch: 0, offset: 0 };

    /// A record's position. (A batch without an epoch has −1; that counts as 0.)
    #[must_use]
    pub fn new(epoch: i32, offset: i64) -> Self {
        Self {
            epoch: epoch.max(0),
            offset: offset.max(0),
        }
    }

    /// The leader epoch.
    #[must_use]
    pub const fn epoch(self) -> i32 {
        self.epoch
    }

    /// The offset in the log.
    #[must_use]
    pub const fn offset(self) -> i64 {
        self.offset
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

/// Text that names no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is written EPOCH:OFFSET")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (epoch, offset) = text.split_once(':').ok_or(NoPosition)?;
        let epoch = epoch.parse().map_err(|_| NoPosition)?;
        let offset = offset.parse().map_err(|_| NoPosition)?;
        if epoch < 0 || offset < 0 {
            return Err(NoPosition);
        }
        Ok(Self { epoch, offset })
    }
}

impl From<Position> for String {
    fn from(position: Position) -> Self {
        position.to_string()
    }
}

impl TryFrom<String> for Position {
    type Error = NoPosition;

    fn try_from(text: String) -> Result<Self, NoPosition> {
        text.parse()
    }
}

/// What one ownership of a partition is called: greater than every one before, below 2^53 (exact as a JSON number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u64", try_from = "u64")]
pub struct Token(u64);

/// A number that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is below 2^53")]
pub struct NoToken;

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        token.0
    }
}

impl TryFrom<u64> for Token {
    type Error = NoToken;

    fn try_from(number: u64) -> Result<Self, NoToken> {
        if number <= Self::MAX.0 {
            Ok(Self(number))
        } else {
            Err(NoToken)
        }
    }
}

impl Token {
    /// That of a partition which was never granted or reset.
    pub const NONE: Self = Self(0);
    /// The greatest.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The token of what the record at `at` granted: the log's floor + epoch · 2^32 + offset.
    #[must_use]
    pub fn granted(floor: u64, at: Position) -> Self {
        let position = (u64::from(at.epoch.unsigned_abs()) << 32).saturating_add(at.offset.unsigned_abs());
        Self(floor.saturating_add(position).min(Self::MAX.0))
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a member: 16 hex digits, never used again after it has left or was removed. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MemberId(Arc<str>);

/// Text that names no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a member's id has 16 digits, 0 to 9 and a to f")]
pub struct NoMemberId;

impl MemberId {
    /// The id that these random bits make.
    #[must_use]
    pub fn random(bits: u64) -> Self {
        Self(format!("{bits:016x}").into())
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for MemberId {
    type Err = NoMemberId;

    fn from_str(text: &str) -> Result<Self, NoMemberId> {
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 16 && text.as_bytes().iter().all(digit) {
            Ok(Self(text.into()))
        } else {
            Err(NoMemberId)
        }
    }
}

impl From<MemberId> for String {
    fn from(id: MemberId) -> Self {
        id.as_str().into()
    }
}

impl TryFrom<String> for MemberId {
    type Error = NoMemberId;

    fn try_from(text: String) -> Result<Self, NoMemberId> {
        text.parse()
    }
}
