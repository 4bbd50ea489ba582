//! OAUTHBEARER's token: from a file or a command, anew for each connection.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::settings::TokenSource;

/// For the command to print the token and end.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// The longest token, in bytes; also the most that is read of what a command says on stderr.
const MAX_TOKEN: usize = 64 << 10;

/// What is shown of a failed command's stderr, in characters, from its end.
const MAX_EXCERPT: usize = 300;

/// No token could be had. Never shows what was read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token's file {}", .path.display())]
    Read {
        /// As set.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The command cannot be run.
    #[error("cannot run the token's command `{program}`")]
    Run {
        /// Its first word; the others may hold secrets.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The command takes too long.
    #[error("the token's command `{program}` did not end within {} s", .limit.as_secs())]
    TooSlow {
        /// Its first word.
        program: String,
        /// What it had.
        limit: Duration,
    },
    /// The command failed.
    #[error("the token's command `{program}` failed ({status}){excerpt}")]
    Failed {
        /// Its first word.
        program: String,
        /// With its exit code or signal.
        status: ExitStatus,
        /// `: ` and the end of its stderr, or empty.
        excerpt: String,
    },
    /// No command.
    #[error("the token's command is empty")]
    NoCommand,
    /// Something was read, but no token.
    #[error("{from} {why}")]
    Unusable {
        /// "the token's file /x", "what the token's command `x` printed"
        from: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl TokenError {
    /// Whether trying again is of no use. Files are replaced and commands ask servers, so most of these may pass.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::NoCommand => true,
            Self::Read { source, .. } | Self::Run { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                )
            }
            _ => false,
        }
    }
}

/// Reads the token, or runs the command that prints it.
///
/// # Errors
/// Says what was tried and why there is no token.
pub(crate) async fn obtain(source: &TokenSource) -> Result<String, TokenError> {
    match source {
        TokenSource::File(path) => from_file(path).await,
        TokenSource::Command(words) => from_command(words, COMMAND_LIMIT).await,
    }
}

async fn from_file(path: &Path) -> Result<String, TokenError> {
    let read = async { read_bounded(tokio::fs::File::open(path).await?).await };
    let bytes = read.await.map_err(|source| TokenError::Read {
        path: path.to_owned(),
        source,
    })?;
    token(&bytes).map_err(|why| TokenError::Unusable {
        from: format!("the token's file {}", path.display()),
        why,
    })
}

async fn from_command(words: &[String], limit: Duration) -> Result<String, TokenError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(TokenError::NoCommand);
    };
    let failed = |source| TokenError::Run {
        program: program.clone(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed(io::Error::other("it has no output")));
    };
    // What is read too much of is closed, so that a command that never stops printing ends by a broken pipe.
    let run = async { tokio::try_join!(read_bounded(stdout), read_bounded(stderr), child.wait()) };
    let (out, err, status) = match tokio::time::timeout(limit, run).await {
        Ok(done) => done.map_err(failed)?,
        Err(_) => {
            return Err(TokenError::TooSlow {
                program: program.clone(),
                limit,
            });
        }
    };
    let checked = token(&out);
    // A command that printed too much fails by our closing the pipe: say what is at the root of it.
    if !status.success() && out.len() <= MAX_TOKEN {
        return Err(TokenError::Failed {
            program: program.clone(),
            status,
            excerpt: excerpt(&err),
        });
    }
    checked.map_err(|why| TokenError::Unusable {
        from: format!("what the token's command `{program}` printed"),
        why,
    })
}

/// At most one byte more than a token may have, so that too long is told from just fitting.
async fn read_bounded(from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_TOKEN as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Takes off the white space around it, and checks that the rest is what a token can be (RFC 6750, b64token).
fn token(bytes: &[u8]) -> Result<String, &'static str> {
    if bytes.len() > MAX_TOKEN {
        return Err("is longer than 64 KiB");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not text")?.trim();
    if text.is_empty() {
        return Err("is empty");
    }
    if text.starts_with('{') {
        return Err("is JSON: the token alone is wanted (jq -r .access_token)");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if !text.chars().all(allowed) {
        return Err("is more than one token, or holds characters that none may have");
    }
    Ok(text.to_owned())
}

fn excerpt(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let clean: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if clean.is_empty() {
        return String::new();
    }
    let count = clean.chars().count();
    if count <= MAX_EXCERPT {
        return format!(": {clean}");
    }
    let end: String = clean.chars().skip(count - MAX_EXCERPT).collect();
    format!(": … {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    async fn run(script: &str) -> Result<String, String> {
        from_command(&command(script), COMMAND_LIMIT)
            .await
            .map_err(|error| error.to_string())
    }

    #[test]
    fn white_space_around_a_token_is_left_out() {
        assert_eq!(token(b" aaa.bbb-_.cc==\n"), Ok("aaa.bbb-_.cc==".to_owned()));
    }

    #[test]
    fn what_cannot_be_a_token_is_refused_by_what_it_is() {
        assert_eq!(token(b" \n"), Err("is empty"));
        assert!(
            token(br#"{"access_token":"x"}"#)
                .unwrap_err()
                .starts_with("is JSON")
        );
        assert!(token(b"Bearer abc").unwrap_err().starts_with("is more than one"));
        assert!(token(b"a\x01auth=b").unwrap_err().starts_with("is more than one"));
        assert_eq!(token(&vec![b'a'; MAX_TOKEN + 1]), Err("is longer than 64 KiB"));
    }

    #[tokio::test]
    async fn a_command_prints_the_token() {
        assert_eq!(run("echo abc.def").await, Ok("abc.def".to_owned()));
    }

    #[tokio::test]
    async fn a_failed_command_shows_its_status_and_stderr_but_not_its_output() {
        let error = run("echo secret; echo no route to issuer >&2; exit 3")
            .await
            .unwrap_err();
        assert_eq!(
            error,
            "the token's command `sh` failed (exit status: 3): no route to issuer"
        );
    }

    #[tokio::test]
    async fn an_endless_command_is_cut_off_by_size() {
        let error = run("yes abcdefghijklmnop").await.unwrap_err();
        assert_eq!(
            error,
            "what the token's command `sh` printed is longer than 64 KiB"
        );
    }

    #[tokio::test]
    async fn a_slow_command_is_cut_off_by_time() {
        let limit = Duration::from_millis(50);
        let error = from_command(&command("exec sleep 60"), limit).await.unwrap_err();
        assert!(matches!(error, TokenError::TooSlow { .. }), "{error}");
    }

    #[tokio::test]
    async fn silence_and_absence_are_told_apart() {
        assert_eq!(
            run("true").await.unwrap_err(),
            "what the token's command `sh` printed is empty"
        );
        let error = from_command(&["/no/such".to_owned()], COMMAND_LIMIT)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "cannot run the token's command `/no/such`");
        let error = from_file(Path::new("/no/such")).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot read the token's file /no/such");
    }
}
