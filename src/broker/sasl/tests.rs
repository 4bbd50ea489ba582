//! The exchanges with a broker that follows a script; real ones are met in `tests/kafka`.

use std::collections::HashMap;
use std::sync::Arc;

use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::primitives::Int16;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::broker::settings::TokenSource;

/// Kafka's code for refused credentials.
const REFUSED: i16 = 58;

/// One answer to SaslAuthenticate, version 1.
struct Line {
    code: i16,
    message: Option<&'static str>,
    bytes: Vec<u8>,
    lifetime: i64,
}

fn says(bytes: &[u8]) -> Line {
    Line {
        code: 0,
        message: None,
        bytes: bytes.to_vec(),
        lifetime: 0,
    }
}

/// Answers each message by `script`, which is given its number (from 0) and the message, after a handshake answered with `code`.
async fn authenticated(
    sasl: SaslSettings,
    code: i16,
    mut script: impl FnMut(usize, &[u8]) -> Line + Send + 'static,
) -> Result<Option<Duration>, SaslError> {
    let (mut there, here) = tokio::io::duplex(1 << 16);
    let broker = tokio::spawn(async move {
        let id = question(&mut there).await?.0;
        let mut answer = code.to_be_bytes().to_vec();
        answer.extend([0, 0, 0, 1, 0, 6]);
        answer.extend(b"GSSAPI");
        reply(&mut there, id, &answer).await?;
        for number in 0.. {
            let (id, body) = question(&mut there).await?;
            let line = script(number, &body[4..]);
            let mut answer = line.code.to_be_bytes().to_vec();
            match line.message {
                None => answer.extend((-1_i16).to_be_bytes()),
                Some(text) => {
                    answer.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
                    answer.extend(text.as_bytes());
                }
            }
            answer.extend(u32::try_from(line.bytes.len()).unwrap().to_be_bytes());
            answer.extend(line.bytes);
            answer.extend(line.lifetime.to_be_bytes());
            reply(&mut there, id, &answer).await?;
        }
        Some(())
    });
    let mut messenger = Messenger::new(here, 1 << 16, Arc::from("test"));
    let version = ApiVersionRange::new(ApiVersion(Int16(1)), ApiVersion(Int16(1)));
    messenger.override_version_ranges(HashMap::from([
        (ApiKey::SaslHandshake, version),
        (ApiKey::SaslAuthenticate, version),
    ]));
    let result = tokio::time::timeout(Duration::from_secs(10), authenticate(&messenger, &sasl)).await;
    broker.abort();
    result.expect("took longer than 10 s")
}

/// The next request's correlation id and body.
async fn question(from: &mut DuplexStream) -> Option<(i32, Vec<u8>)> {
    let len = from.read_u32().await.ok()?;
    let mut frame = vec![0; usize::try_from(len).unwrap()];
    from.read_exact(&mut frame).await.ok()?;
    let id = i32::from_be_bytes(frame[4..8].try_into().unwrap());
    let client_id = usize::from(u16::from_be_bytes(frame[8..10].try_into().unwrap()));
    Some((id, frame.split_off(10 + client_id)))
}

async fn reply(to: &mut DuplexStream, id: i32, body: &[u8]) -> Option<()> {
    to.write_u32(u32::try_from(body.len() + 4).unwrap()).await.ok()?;
    to.write_i32(id).await.ok()?;
    to.write_all(body).await.ok()
}

fn ann() -> Login {
    Login {
        username: "ann".to_owned(),
        password: "hunter2".to_owned(),
    }
}

fn token(text: &str) -> SaslSettings {
    SaslSettings::OauthBearer(TokenSource::Command(vec!["echo".to_owned(), text.to_owned()]))
}

#[tokio::test]
async fn the_sessions_lifetime_is_passed_on() {
    let result = authenticated(SaslSettings::Plain(ann()), 0, |_, message| {
        assert_eq!(message, b"\0ann\0hunter2");
        Line {
            lifetime: 60_000,
            ..says(b"")
        }
    });
    assert_eq!(result.await.unwrap(), Some(Duration::from_secs(60)));
    let result = authenticated(SaslSettings::Plain(ann()), 0, |_, _| says(b""));
    assert_eq!(result.await.unwrap(), None);
}

#[tokio::test]
async fn a_refusal_has_the_brokers_words_and_not_the_password() {
    let error = authenticated(SaslSettings::Plain(ann()), 0, |_, _| Line {
        code: REFUSED,
        message: Some("Authentication failed: locked"),
        ..says(b"")
    });
    let error = error.await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the broker refused user 'ann' with PLAIN: Authentication failed: locked"
    );
    assert!(error.is_lasting() && !format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_mechanism_not_offered_names_those_that_are() {
    let error = authenticated(SaslSettings::Plain(ann()), 33, |_, _| says(b""))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the broker does not take PLAIN, it offers GSSAPI (sasl.mechanism)"
    );
    let error = authenticated(SaslSettings::Plain(ann()), 34, |_, _| says(b""))
        .await
        .unwrap_err();
    assert!(matches!(error, SaslError::NotWanted));
}

/// What a SCRAM broker says first, given what the client said: the client's nonce with more behind it.
fn server_first(client_first: &[u8], iterations: u32) -> Line {
    let text = std::str::from_utf8(client_first).unwrap();
    let nonce = text.strip_prefix("n,,n=ann,r=").unwrap();
    says(format!("r={nonce}more,s=c2FsdA==,i={iterations}").as_bytes())
}

#[tokio::test]
async fn a_broker_that_does_not_know_the_password_is_an_impostor() {
    let zeros = format!("v={}=", "A".repeat(43));
    let error = authenticated(SaslSettings::ScramSha256(ann()), 0, move |number, message| {
        if number == 0 {
            server_first(message, 4_096)
        } else {
            says(zeros.as_bytes())
        }
    });
    let error = error.await.unwrap_err();
    assert!(matches!(error, SaslError::Impostor { .. }), "{error}");
}

#[tokio::test]
async fn a_broker_that_leaves_out_its_proof_is_not_believed() {
    let error = authenticated(SaslSettings::ScramSha512(ann()), 0, |number, message| {
        if number == 0 {
            server_first(message, 4_096)
        } else {
            says(b"")
        }
    });
    let error = error.await.unwrap_err();
    assert!(matches!(error, SaslError::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn too_few_iterations_end_the_exchange_before_the_proof_is_sent() {
    let error = authenticated(SaslSettings::ScramSha256(ann()), 0, |number, message| {
        assert_eq!(number, 0, "a proof was sent");
        server_first(message, 1)
    });
    let error = error.await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the broker's part of SCRAM-SHA-256 is not as it must be"
    );
    let SaslError::Protocol { source, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(source.to_string(), "1 iterations are not within 4096 to 1000000");
}

#[tokio::test]
async fn a_refused_token_is_acknowledged_and_its_status_shown() {
    let error = authenticated(token("abc"), 0, |number, message| {
        if number == 0 {
            assert_eq!(message, b"n,,\x01auth=Bearer abc\x01\x01");
            return says(br#"{"status":"invalid_token"}"#);
        }
        assert_eq!(message, b"\x01");
        Line {
            code: REFUSED,
            message: Some("expired"),
            ..says(b"")
        }
    });
    let error = error.await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the broker refused the token with OAUTHBEARER: invalid_token (expired)"
    );
    assert!(!error.is_lasting(), "the next token may do");
}

#[tokio::test]
async fn a_broker_that_refuses_a_token_and_then_forgets_it_has_refused() {
    let error = authenticated(token("abc"), 0, |number, _| {
        says(if number == 0 {
            br#"{"status":"invalid_token"}"#
        } else {
            b""
        })
    });
    assert!(matches!(error.await.unwrap_err(), SaslError::Refused { .. }));
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
