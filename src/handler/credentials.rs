//! `Authorization`, from a file that is read again when it changes: mounted secrets are replaced while we run.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// The file is looked at this often at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The largest file that is believed to hold credentials, in bytes.
const MAX_SIZE: u64 = 64 << 10;

/// What the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A token.
    Bearer,
    /// `user:password`
    Basic,
}

/// Where credentials are.
#[derive(Debug, Clone)]
pub struct Source {
    /// What the file holds.
    pub scheme: Scheme,
    /// White space around its content is left out.
    pub file: PathBuf,
}

/// Credentials cannot be had. Never shows them.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read the credentials in {}", .path.display())]
    Read {
        /// As set.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("the file {} holds no {wanted}", .path.display())]
    Unusable {
        /// As set.
        path: PathBuf,
        /// "token", "user:password"
        wanted: &'static str,
    },
}

/// Credentials as last read.
#[derive(Debug)]
pub struct Credentials {
    source: Source,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    value: HeaderValue,
    stamp: Option<(SystemTime, u64)>,
    looked: Instant,
}

impl Credentials {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// If the file is missing or holds something else.
    pub fn read(source: Source, now: Instant) -> Result<Self, CredentialsError> {
        let stamp = stamp(&source);
        let value = value(&source)?;
        Ok(Self {
            source,
            last: Mutex::new(Last {
                value,
                stamp,
                looked: now,
            }),
        })
    }

    /// The header's value; of a file that has changed and cannot be read the last one that could.
    pub fn get(&self, now: Instant) -> HeaderValue {
        // A panic elsewhere cannot leave it half changed.
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.saturating_duration_since(last.looked) >= LOOK_EVERY {
            last.looked = now;
            let stamp = stamp(&self.source);
            if stamp != last.stamp {
                match value(&self.source) {
                    Ok(value) => {
                        last.value = value;
                        last.stamp = stamp;
                    }
                    Err(error) => tracing::warn!("{error}; the ones read before are used"),
                }
            }
        }
        last.value.clone()
    }
}

fn stamp(source: &Source) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(&source.file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn value(source: &Source) -> Result<HeaderValue, CredentialsError> {
    let unusable = |wanted| CredentialsError::Unusable {
        path: source.file.clone(),
        wanted,
    };
    let read = || {
        if std::fs::metadata(&source.file)?.len() > MAX_SIZE {
            return Err(io::Error::other("it is too large"));
        }
        std::fs::read(&source.file)
    };
    let bytes = read().map_err(|error| CredentialsError::Read {
        path: source.file.clone(),
        source: error,
    })?;
    let text = bytes.trim_ascii();
    let (line, wanted) = match source.scheme {
        Scheme::Bearer => ([b"Bearer ", text].concat(), "token"),
        Scheme::Basic => (
            format!("Basic {}", STANDARD.encode(text)).into_bytes(),
            "user:password",
        ),
    };
    let sound = match source.scheme {
        Scheme::Bearer => !text.is_empty() && text.iter().all(u8::is_ascii_graphic),
        Scheme::Basic => text.contains(&b':'),
    };
    let mut value = HeaderValue::from_bytes(&line).map_err(|_| unusable(wanted))?;
    value.set_sensitive(true);
    if sound { Ok(value) } else { Err(unusable(wanted)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("barnabas-credentials-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_is_not_used() {
        let path = file("changed", "one\n");
        let start = crate::clock::now();
        let source = Source {
            scheme: Scheme::Bearer,
            file: path.clone(),
        };
        let credentials = Credentials::read(source, start).unwrap();
        assert_eq!(credentials.get(start), "Bearer one");
        std::fs::write(&path, "second").unwrap();
        assert_eq!(credentials.get(start), "Bearer one");
        assert_eq!(credentials.get(start + LOOK_EVERY), "Bearer second");
        std::fs::write(&path, "").unwrap();
        assert_eq!(credentials.get(start + 2 * LOOK_EVERY), "Bearer second");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(credentials.get(start + 3 * LOOK_EVERY), "Bearer second");
    }

    #[test]
    fn credentials_are_checked_and_never_shown() {
        let read = |name: &str, scheme, content| {
            let source = Source {
                scheme,
                file: file(name, content),
            };
            let read = Credentials::read(source.clone(), crate::clock::now());
            std::fs::remove_file(&source.file).unwrap();
            read
        };
        let basic = read("basic", Scheme::Basic, "me:secret").unwrap();
        assert_eq!(basic.get(crate::clock::now()), "Basic bWU6c2VjcmV0");
        assert!(!format!("{basic:?}").contains("bWU6"));
        assert!(read("nobody", Scheme::Basic, "secret").is_err());
        let error = read("lines", Scheme::Bearer, "se\r\ncret").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("cret\""), "{error:?}");
    }
}
