//! SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER over one connection.
//!
//! `rskafka` has `do_sasl` for this, which drops what people and reconnects need: the broker's own words when it
//! refuses, and how long the session may last (KIP-368).

use std::time::Duration;

use rskafka::messenger::{Messenger, RequestError};
use rskafka::protocol::error::Error as ApiError;
use rskafka::protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest};
use tokio::io::{AsyncRead, AsyncWrite};

use super::scram::{self, Hash, ScramError};
use super::settings::{Login, SaslSettings};
use super::token::{self, TokenError};
use crate::clock;

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
    #[error("the broker's part of {mechanism} is not as it must be")]
    Protocol {
        /// As `sasl.mechanism` has it.
        mechanism: &'static str,
        /// What is wrong.
        source: ScramError,
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
        SaslSettings::ScramSha256(login) => {
            check(login)?;
            exchange.handshake().await?;
            exchange.scram(login, Hash::Sha256).await
        }
        SaslSettings::ScramSha512(login) => {
            check(login)?;
            exchange.handshake().await?;
            exchange.scram(login, Hash::Sha512).await
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

    async fn scram(&self, login: &Login, hash: Hash) -> Result<Option<Duration>, SaslError> {
        let (mechanism, who) = (self.mechanism, user(login));
        let (first, message) = scram::begin(hash, &login.username, nonce());
        let answer = self.send(message.into_bytes(), &who).await?;
        let (last, message) = first
            .answer(&answer.auth_bytes.0, &login.password)
            .map_err(|source| SaslError::Protocol { mechanism, source })?;
        let answer = self.send(message.into_bytes(), &who).await?;
        last.check(&answer.auth_bytes.0).map_err(|error| match error {
            ScramError::Proof => SaslError::Impostor {
                user: login.username.clone(),
                mechanism,
            },
            ScramError::Refused(why) => SaslError::Refused { who, mechanism, why },
            source => SaslError::Protocol { mechanism, source },
        })?;
        Ok(lifetime(&answer))
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

/// 192 random bits for SCRAM.
fn nonce() -> String {
    (0..3).map(|_| format!("{:016x}", clock::random())).collect()
}

fn lifetime(answer: &SaslAuthenticateResponse) -> Option<Duration> {
    let millis = u64::try_from(answer.session_lifetime_ms?.0).ok()?;
    (millis > 0).then(|| Duration::from_millis(millis))
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
mod tests;
