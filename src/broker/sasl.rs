//! SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER over one connection.
//!
//! `rskafka` has `do_sasl` for this, which drops what people and reconnects need: the broker's own words when it
//! refuses, and how long the session may last (KIP-368). So the steps are here, and only SCRAM's arithmetic is `rsasl`'s.

use std::io::Cursor;
use std::time::Duration;

use rsasl::config::SASLConfig;
use rsasl::mechname::Mechname;
use rsasl::prelude::{SASLClient, SessionError};
use rskafka::messenger::{Messenger, RequestError};
use rskafka::protocol::error::Error as ApiError;
use rskafka::protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest};
use tokio::io::{AsyncRead, AsyncWrite};

use super::settings::{Login, SaslSettings};
use super::token::{self, TokenError};

/// The fewest PBKDF2 iterations taken from a broker, Kafka's own minimum: fewer would make the password easy to guess
/// for whoever poses as the broker.
const MIN_ITERATIONS: u32 = 4_096;

/// The most, about half a second of one processor: more is an attack on the client, or a slip.
const MAX_ITERATIONS: u32 = 1_000_000;

/// Authentication failed.
#[derive(Debug, thiserror::Error)]
pub enum SaslError {
    /// The connection failed first.
    #[error("the connection failed during authentication with {mechanism}")]
    Request {
        /// As `sasl.mechanism` has it.
        mechanism: &'static str,
        /// Why.
        source: RequestError,
    },
    /// The broker does not offer the mechanism.
    #[error("the broker does not take {mechanism}, it offers {} (sasl.mechanism)", listed(.offered))]
    Mechanism {
        /// As `sasl.mechanism` has it.
        mechanism: &'static str,
        /// As the broker has them.
        offered: Vec<String>,
    },
    /// A listener without SASL.
    #[error(
        "this port of the broker wants no authentication: security.protocol must be plaintext or ssl here, or the port another"
    )]
    NotWanted,
    /// Wrong user, password or token.
    #[error("the broker refused {who} with {mechanism}: {why}")]
    Refused {
        /// "user 'x'", "the token"
        who: String,
        /// As `sasl.mechanism` has it.
        mechanism: &'static str,
        /// In the broker's words.
        why: String,
    },
    /// An error code that has nothing to do with the credentials.
    #[error("the broker answered {code} to the authentication with {mechanism}")]
    Code {
        /// Kafka's error code.
        code: String,
        /// As `sasl.mechanism` has it.
        mechanism: &'static str,
    },
    /// The broker did not prove that it knows the password.
    #[error(
        "the broker did not prove that it knows the password of user '{user}' ({mechanism}): it may not be the broker it seems"
    )]
    Impostor {
        /// `sasl.username`
        user: String,
        /// As `sasl.mechanism` has it.
        mechanism: &'static str,
    },
    /// The broker's messages make no sense.
    #[error("the broker's part of {mechanism} is not as it must be: {why}")]
    Protocol {
        /// As `sasl.mechanism` has it.
        mechanism: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A user name or password that cannot be sent.
    #[error("{property} {why}")]
    Credentials {
        /// Name of the setting.
        property: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No token.
    #[error("no token for OAUTHBEARER")]
    Token {
        /// Why.
        #[from]
        source: TokenError,
    },
}

impl SaslError {
    /// Whether the same settings cannot lead to success later.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Code { .. } => false,
            // A token that has run out is replaced by whatever writes the file or answers the command.
            Self::Refused { mechanism, .. } => *mechanism != "OAUTHBEARER",
            Self::Token { source } => source.is_lasting(),
            _ => true,
        }
    }
}

fn listed(mechanisms: &[String]) -> String {
    if mechanisms.is_empty() {
        "none".to_owned()
    } else {
        mechanisms.join(", ")
    }
}

/// `sasl.mechanism` as brokers know it.
fn mechanism(sasl: &SaslSettings) -> &'static str {
    match sasl {
        SaslSettings::Plain(_) => "PLAIN",
        SaslSettings::ScramSha256(_) => "SCRAM-SHA-256",
        SaslSettings::ScramSha512(_) => "SCRAM-SHA-512",
        SaslSettings::OauthBearer(_) => "OAUTHBEARER",
    }
}

/// Authenticates a connection whose API versions are known already, without a time limit but for the token's command.
///
/// Returns how long the session lasts, from now: the broker closes the connection at the first request after that.
/// `None`: as long as the connection.
///
/// # Errors
/// Says who was refused and why in the broker's words, never with a secret.
pub(crate) async fn authenticate<S>(
    messenger: &Messenger<S>,
    sasl: &SaslSettings,
) -> Result<Option<Duration>, SaslError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let exchange = Exchange {
        messenger,
        mechanism: mechanism(sasl),
    };
    // The token first: its command may take seconds, in which the broker would wait in the middle of the exchange.
    match sasl {
        SaslSettings::OauthBearer(source) => {
            let token = token::obtain(source).await?;
            exchange.handshake().await?;
            exchange.oauth_bearer(&token).await
        }
        SaslSettings::Plain(login) => {
            check(login)?;
            exchange.handshake().await?;
            exchange.plain(login).await
        }
        SaslSettings::ScramSha256(login) | SaslSettings::ScramSha512(login) => {
            check(login)?;
            exchange.handshake().await?;
            exchange.scram(login).await
        }
    }
}

fn check(login: &Login) -> Result<(), SaslError> {
    for (property, value) in [
        ("sasl.username", &login.username),
        ("sasl.password", &login.password),
    ] {
        if value.is_empty() {
            return Err(SaslError::Credentials {
                property,
                why: "is empty",
            });
        }
        if value.contains('\0') {
            return Err(SaslError::Credentials {
                property,
                why: "holds a NUL character",
            });
        }
    }
    Ok(())
}

struct Exchange<'a, S> {
    messenger: &'a Messenger<S>,
    mechanism: &'static str,
}

impl<S> Exchange<'_, S>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    async fn handshake(&self) -> Result<(), SaslError> {
        let mechanism = self.mechanism;
        let answer = self
            .messenger
            .request(SaslHandshakeRequest::new(mechanism))
            .await
            .map_err(|source| SaslError::Request { mechanism, source })?;
        match answer.error_code {
            None => Ok(()),
            Some(ApiError::UnsupportedSaslMechanism) => {
                let offered = answer
                    .mechanisms
                    .0
                    .unwrap_or_default()
                    .into_iter()
                    .map(|name| name.0)
                    .collect();
                Err(SaslError::Mechanism { mechanism, offered })
            }
            Some(ApiError::IllegalSaslState) => Err(SaslError::NotWanted),
            Some(code) => Err(SaslError::Code {
                code: format!("{code:?}"),
                mechanism,
            }),
        }
    }

    /// Sends one message of the client; an error code in the answer is a refusal of `who`.
    async fn send(&self, message: Vec<u8>, who: &str) -> Result<SaslAuthenticateResponse, SaslError> {
        let mechanism = self.mechanism;
        let answer = self
            .messenger
            .request(SaslAuthenticateRequest::new(message))
            .await
            .map_err(|source| SaslError::Request { mechanism, source })?;
        match answer.error_code {
            None => Ok(answer),
            Some(ApiError::SaslAuthenticationFailed) => {
                let why = answer.error_message.0.filter(|text| !text.is_empty());
                let why = why.unwrap_or_else(|| "authentication failed".to_owned());
                Err(SaslError::Refused {
                    who: who.to_owned(),
                    mechanism,
                    why,
                })
            }
            Some(ApiError::IllegalSaslState) => Err(SaslError::NotWanted),
            Some(code) => Err(SaslError::Code {
                code: format!("{code:?}"),
                mechanism,
            }),
        }
    }

    async fn plain(&self, login: &Login) -> Result<Option<Duration>, SaslError> {
        let message = format!("\0{}\0{}", login.username, login.password).into_bytes();
        let answer = self.send(message, &user(login)).await?;
        Ok(lifetime(&answer))
    }

    async fn scram(&self, login: &Login) -> Result<Option<Duration>, SaslError> {
        let mut session = self.scram_session(login)?;
        let mut message = Cursor::new(Vec::new());
        session
            .step(None, &mut message)
            .map_err(|error| self.scram_error(login, &error))?;
        let server_first = self.send(message.into_inner(), &user(login)).await?.auth_bytes.0;
        check_iterations(&server_first).map_err(|why| SaslError::Protocol {
            mechanism: self.mechanism,
            why,
        })?;

        let mut message = Cursor::new(Vec::new());
        session
            .step(Some(&server_first), &mut message)
            .map_err(|error| self.scram_error(login, &error))?;
        let answer = self.send(message.into_inner(), &user(login)).await?;

        // The broker's proof; nothing is to be sent any more.
        let mut nothing = Cursor::new(Vec::new());
        let state = session
            .step(Some(&answer.auth_bytes.0), &mut nothing)
            .map_err(|error| self.scram_error(login, &error))?;
        if !state.is_finished() {
            return Err(SaslError::Protocol {
                mechanism: self.mechanism,
                why: "it does not end".to_owned(),
            });
        }
        Ok(lifetime(&answer))
    }

    fn scram_session(&self, login: &Login) -> Result<rsasl::prelude::Session, SaslError> {
        let failed = |why: String| SaslError::Protocol {
            mechanism: self.mechanism,
            why,
        };
        let config = SASLConfig::with_credentials(None, login.username.clone(), login.password.clone())
            .map_err(|error| failed(error.to_string()))?;
        let name = Mechname::parse(self.mechanism.as_bytes()).map_err(|error| failed(error.to_string()))?;
        SASLClient::new(config)
            .start_suggested(&[name])
            .map_err(|error| failed(error.to_string()))
    }

    fn scram_error(&self, login: &Login, error: &SessionError) -> SaslError {
        let mechanism = self.mechanism;
        match error {
            SessionError::MutualAuthenticationFailed => SaslError::Impostor {
                user: login.username.clone(),
                mechanism,
            },
            other => SaslError::Protocol {
                mechanism,
                why: other.to_string(),
            },
        }
    }

    async fn oauth_bearer(&self, token: &str) -> Result<Option<Duration>, SaslError> {
        let message = format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes();
        let answer = self.send(message, "the token").await?;
        if answer.auth_bytes.0.is_empty() {
            return Ok(lifetime(&answer));
        }
        // RFC 7628: the refusal comes as JSON, must be answered with this byte, and only then does the exchange fail.
        let status = oauth_status(&answer.auth_bytes.0);
        match self.send(vec![1], "the token").await {
            // Kafka repeats its JSON as the message; others may have more to say.
            Err(SaslError::Refused { who, mechanism, why }) if !why.contains(&status) => {
                Err(SaslError::Refused {
                    who,
                    mechanism,
                    why: format!("{status} ({why})"),
                })
            }
            Err(SaslError::Refused { who, mechanism, .. }) => Err(SaslError::Refused {
                who,
                mechanism,
                why: status,
            }),
            // A broken connection does not make the refusal undone.
            Ok(_) | Err(SaslError::Request { .. }) => Err(SaslError::Refused {
                who: "the token".to_owned(),
                mechanism: self.mechanism,
                why: status,
            }),
            Err(other) => Err(other),
        }
    }
}

fn user(login: &Login) -> String {
    format!("user '{}'", login.username)
}

fn lifetime(answer: &SaslAuthenticateResponse) -> Option<Duration> {
    let millis = u64::try_from(answer.session_lifetime_ms?.0).ok()?;
    (millis > 0).then(|| Duration::from_millis(millis))
}

/// `r=…,s=…,i=4096`
fn check_iterations(server_first: &[u8]) -> Result<(), String> {
    let iterations = server_first
        .split(|&byte| byte == b',')
        .find_map(|part| part.strip_prefix(b"i="))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u32>().ok());
    match iterations {
        None => Err("it names no iteration count".to_owned()),
        Some(count) if (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&count) => Ok(()),
        Some(count) => Err(format!(
            "{count} iterations are not within {MIN_ITERATIONS} to {MAX_ITERATIONS}"
        )),
    }
}

/// `{"status":"invalid_token","scope":"…"}` → `invalid_token, scope …`
fn oauth_status(challenge: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        status: String,
        scope: Option<String>,
    }
    match serde_json::from_slice::<Refusal>(challenge) {
        Ok(Refusal {
            status,
            scope: Some(scope),
        }) if !scope.is_empty() => format!("{status}, it needs scope {scope}"),
        Ok(Refusal { status, .. }) => status,
        Err(_) => "without a reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterations_out_of_bounds_are_refused() {
        assert_eq!(check_iterations(b"r=abc,s=c2FsdA==,i=4096"), Ok(()));
        assert!(check_iterations(b"r=abc,s=c2FsdA==,i=1").is_err());
        assert!(check_iterations(b"r=abc,s=c2FsdA==,i=4294967295").is_err());
        assert!(check_iterations(b"r=abc,s=c2FsdA==").is_err());
    }

    #[test]
    fn the_status_of_a_refused_token_is_shown() {
        assert_eq!(oauth_status(br#"{"status":"invalid_token"}"#), "invalid_token");
        assert_eq!(
            oauth_status(br#"{"status":"insufficient_scope","scope":"kafka"}"#),
            "insufficient_scope, it needs scope kafka"
        );
        assert_eq!(oauth_status(b"\xff"), "without a reason");
    }

    #[test]
    fn credentials_that_cannot_be_sent_are_refused_by_name() {
        let login = Login {
            username: "a\0b".to_owned(),
            password: "secret".to_owned(),
        };
        let error = check(&login).unwrap_err().to_string();
        assert_eq!(error, "sasl.username holds a NUL character");
    }

    #[test]
    fn neither_password_nor_command_shows_in_debug() {
        let login = Login {
            username: "ann".to_owned(),
            password: "hunter2".to_owned(),
        };
        assert!(!format!("{login:?} {:?}", SaslSettings::Plain(login.clone())).contains("hunter2"));
    }
}
