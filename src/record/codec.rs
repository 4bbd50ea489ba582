//! The codecs by name, number and level.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A codec of a record batch, as in the lowest three bits of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// gzip (RFC 1952), several members allowed.
    Gzip,
    /// Snappy: raw blocks are written, raw and xerial framing are read.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard frame.
    Zstd,
}

impl Codec {
    /// All of them, in the order of their numbers.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The number in the attributes.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// The codec of that number, or `None` for 5 and above, which Kafka does not define.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.number() == number)
    }

    /// As in Kafka's `compression.type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The levels that the encoder knows, or `None` where there are none to choose from.
    #[must_use]
    pub fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Codec::Gzip => Some(1..=9),
            Codec::Zstd => Some(1..=22),
            Codec::None | Codec::Snappy | Codec::Lz4 => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A codec and its level, checked: written `zstd`, `zstd:3`, `gzip:9`, `lz4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Compression {
    codec: Codec,
    level: Option<i32>,
}

impl Compression {
    /// The codec at a level, or at its default level.
    ///
    /// # Errors
    /// The codec has no such level.
    pub fn new(codec: Codec, level: Option<i32>) -> Result<Self, ParseCompressionError> {
        match (level, codec.levels()) {
            (Some(_), None) => Err(ParseCompressionError::NoLevels { codec }),
            (Some(level), Some(levels)) if !levels.contains(&level) => Err(ParseCompressionError::Level {
                codec,
                low: *levels.start(),
                high: *levels.end(),
            }),
            _ => Ok(Compression { codec, level }),
        }
    }

    /// The codec.
    #[must_use]
    pub fn codec(self) -> Codec {
        self.codec
    }

    /// The level, or `None` for the codec's default.
    #[must_use]
    pub fn level(self) -> Option<i32> {
        self.level
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Compression { codec, level: None }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "{}:{level}", self.codec),
            None => write!(f, "{}", self.codec),
        }
    }
}

impl FromStr for Compression {
    type Err = ParseCompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let codec = Codec::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| ParseCompressionError::Unknown {
                name: name.to_owned(),
            })?;
        let level = level
            .map(|level| {
                level.parse().map_err(|_| match codec.levels() {
                    Some(levels) => ParseCompressionError::Level {
                        codec,
                        low: *levels.start(),
                        high: *levels.end(),
                    },
                    None => ParseCompressionError::NoLevels { codec },
                })
            })
            .transpose()?;
        Compression::new(codec, level)
    }
}

/// Why a text names no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCompressionError {
    /// No codec of that name.
    #[error("no codec is called {name:?}: none, gzip, snappy, lz4 and zstd are known")]
    Unknown {
        /// As it was given.
        name: String,
    },
    /// The level is not one of the codec's.
    #[error("{codec} has the levels {low} to {high}")]
    Level {
        /// Which one.
        codec: Codec,
        /// The lowest level.
        low: i32,
        /// The highest level.
        high: i32,
    },
    /// The codec has no levels.
    #[error("{codec} has no levels to choose from")]
    NoLevels {
        /// Which one.
        codec: Codec,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_read_back_from_their_names_and_numbers() {
        for codec in Codec::ALL {
            assert_eq!(codec.name().parse(), Ok(Compression::from(codec)));
            assert_eq!(Codec::from_number(codec.number()), Some(codec));
        }
        assert_eq!(Codec::from_number(5), None);
    }

    #[test]
    fn a_level_is_taken_only_within_the_codec_s_range() {
        let zstd = "zstd:3".parse::<Compression>().unwrap();
        assert_eq!(
            (zstd.codec(), zstd.level(), zstd.to_string()),
            (Codec::Zstd, Some(3), "zstd:3".into())
        );
        for wrong in [
            "zstd:0", "zstd:23", "zstd:", "zstd:x", "gzip:10", "lz4:1", "snappy:1", "none:1", "br", "",
        ] {
            assert!(wrong.parse::<Compression>().is_err(), "{wrong}");
        }
    }
}
