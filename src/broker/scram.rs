//! SCRAM's arithmetic (RFC 5802 and 7677), without a connection, clock or randomness.
//!
//! `rsasl`, which `rskafka` uses, panics at a last message of the broker that is shorter than two bytes, and bounds no iteration count.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

/// The fewest iterations taken from a broker, Kafka's own minimum: fewer would make the password easy to guess for
/// whoever poses as the broker.
const MIN_ITERATIONS: u32 = 4_096;

/// The most, a second of one processor or less: more is an attack on the client, or a slip.
const MAX_ITERATIONS: u32 = 1_000_000;

/// `n,,`: no channel binding, which Kafka does not offer, and no other identity than the user's own.
const HEADER: &str = "n,,";

/// The hash function that gives the mechanism its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

/// The broker's part is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// Not SCRAM's syntax.
    #[error("its {0} message is malformed")]
    Malformed(&'static str),
    /// An answer to another client.
    #[error("its nonce does not go on from ours")]
    Nonce,
    /// Too few or too many.
    #[error("{0} iterations are not within {MIN_ITERATIONS} to {MAX_ITERATIONS}")]
    Iterations(u32),
    /// `e=`: a refusal in SCRAM's own way.
    #[error("{0}")]
    Refused(String),
    /// The broker's signature is wrong.
    #[error("its proof is wrong")]
    Proof,
}

/// After the client's first message.
pub(crate) struct First {
    hash: Hash,
    nonce: String,
    bare: String,
}

/// After the client's last message: what the broker must prove.
pub(crate) struct Last {
    signature: Vec<u8>,
}

/// Begins as `user`, who is not empty, with a nonce that was never used before: printable ASCII without commas.
pub(crate) fn begin(hash: Hash, user: &str, nonce: String) -> (First, String) {
    let bare = format!("n={},r={nonce}", user.replace('=', "=3D").replace(',', "=2C"));
    let message = format!("{HEADER}{bare}");
    (First { hash, nonce, bare }, message)
}

impl First {
    /// Answers the broker's first message with the proof of the password, which takes as long as its iterations do.
    ///
    /// # Errors
    /// If the message is not one that may be answered.
    pub(crate) fn answer(self, broker: &[u8], password: &str) -> Result<(Last, String), ScramError> {
        let Self {
            hash,
            nonce: ours,
            bare,
        } = self;
        let malformed = ScramError::Malformed("first");
        let broker = std::str::from_utf8(broker).map_err(|_| malformed.clone())?;
        let mut parts = broker.split(',');
        // In this order; what may come behind them are extensions, and `m=` before them one that must be understood.
        let mut part = |name| {
            parts
                .next()
                .and_then(|part| part.strip_prefix(name))
                .ok_or_else(|| malformed.clone())
        };
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&ours) || nonce.len() == ours.len() {
            return Err(ScramError::Nonce);
        }
        let salt = STANDARD.decode(salt).map_err(|_| malformed.clone())?;
        let iterations = iterations.parse().map_err(|_| malformed.clone())?;
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            return Err(ScramError::Iterations(iterations));
        }
        // Kafka takes the password's bytes as they are, without SASLprep; so do we.
        let salted = hash.salted(password.as_bytes(), &salt, iterations);
        let client_key = hash.mac(&salted, b"Client Key");
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(HEADER));
        let all = format!("{bare},{broker},{without_proof}");
        let client_signature = hash.mac(&hash.of(&client_key), all.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(client_signature)
            .map(|(key, sign)| key ^ sign)
            .collect();
        let signature = hash.mac(&hash.mac(&salted, b"Server Key"), all.as_bytes());
        Ok((
            Last { signature },
            format!("{without_proof},p={}", STANDARD.encode(proof)),
        ))
    }
}

impl Last {
    /// Checks the broker's proof that it knows the password as well.
    ///
    /// # Errors
    /// If it does not prove it.
    pub(crate) fn check(self, broker: &[u8]) -> Result<(), ScramError> {
        let malformed = ScramError::Malformed("last");
        let broker = std::str::from_utf8(broker).map_err(|_| malformed.clone())?;
        let part = broker.split(',').next().unwrap_or_default();
        if let Some(refusal) = part.strip_prefix("e=") {
            return Err(ScramError::Refused(
                refusal.chars().filter(|c| !c.is_control()).collect(),
            ));
        }
        let proof = part.strip_prefix("v=").ok_or_else(|| malformed.clone())?;
        let proof = STANDARD.decode(proof).map_err(|_| malformed)?;
        if proof == self.signature {
            Ok(())
        } else {
            Err(ScramError::Proof)
        }
    }
}

impl Hash {
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn mac(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => mac::<Hmac<Sha256>>(key, bytes),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, bytes),
        }
    }

    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Self::Sha256 => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations).to_vec(),
            Self::Sha512 => pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, iterations).to_vec(),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "HMAC takes keys of any length: the error is another MAC's"
    )]
    let mac = <M as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(bytes).finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const BROKER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn first(hash: Hash) -> First {
        begin(hash, "user", NONCE.to_owned()).0
    }

    fn refusal(broker: &str) -> ScramError {
        first(Hash::Sha256)
            .answer(broker.as_bytes(), "pencil")
            .err()
            .unwrap()
    }

    #[test]
    fn the_example_of_rfc_7677_comes_out() {
        let (first, message) = begin(Hash::Sha256, "user", NONCE.to_owned());
        assert_eq!(message, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (last, message) = first.answer(BROKER_FIRST.as_bytes(), "pencil").unwrap();
        assert_eq!(
            message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(
            last.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            Ok(())
        );
    }

    #[test]
    fn sha_512_agrees_with_pythons_hashlib() {
        let (last, message) = first(Hash::Sha512)
            .answer(BROKER_FIRST.as_bytes(), "pencil")
            .unwrap();
        assert!(
            message.ends_with(
                ",p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ=="
            ),
            "{message}"
        );
        assert_eq!(
            last.check(
                b"v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw=="
            ),
            Ok(())
        );
    }

    #[test]
    fn a_wrong_proof_or_none_is_not_believed() {
        let check = |broker: &[u8]| {
            first(Hash::Sha256)
                .answer(BROKER_FIRST.as_bytes(), "pencil")
                .unwrap()
                .0
                .check(broker)
        };
        assert_eq!(check(b"v=AAAA"), Err(ScramError::Proof));
        assert_eq!(check(b"v="), Err(ScramError::Proof));
        for malformed in [&b""[..], b"v", b"x", b"v=*", b"\xff\xff"] {
            assert_eq!(check(malformed), Err(ScramError::Malformed("last")));
        }
        assert_eq!(
            check(b"e=other-error,x"),
            Err(ScramError::Refused("other-error".to_owned()))
        );
    }

    #[test]
    fn a_first_message_of_any_other_shape_is_refused() {
        let malformed = ScramError::Malformed("first");
        for broker in [
            "",
            "r",
            "r=",
            "m=x,r=a,s=b,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=*,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=-1",
        ] {
            assert_eq!(refusal(broker), malformed, "{broker}");
        }
        assert_eq!(refusal("r=another,s=AAAA,i=4096"), ScramError::Nonce);
        assert_eq!(
            refusal("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096"),
            ScramError::Nonce,
            "nothing of the broker's own"
        );
    }

    #[test]
    fn iterations_out_of_bounds_are_refused() {
        for count in [0, 1, 4_095, 1_000_001, u32::MAX] {
            assert_eq!(
                refusal(&format!("r={NONCE}x,s=AAAA,i={count}")),
                ScramError::Iterations(count)
            );
        }
    }

    #[test]
    fn commas_and_equals_signs_in_a_name_are_escaped() {
        assert_eq!(
            begin(Hash::Sha256, "a=b,c", "x".to_owned()).1,
            "n,,n=a=3Db=2Cc,r=x"
        );
    }
}
