//! What is wrong with a peer, told from its first words or from how TLS failed: nearly always a setting of ours.

use std::io;

use rskafka::messenger::RequestError;
use rskafka::protocol::frame;
use rustls::{AlertDescription, CertificateError};

/// The longest first answer that is believed, in bytes. Text and TLS records, read as the length of a Kafka frame,
/// announce more (`HTTP` 1.2 GB, a TLS alert 352 MB); without this check such a frame would be waited for in vain.
const MAX_FIRST_FRAME: u32 = 256 << 20;

/// Why a peer cannot be talked to, in words that follow "no connection to HOST:PORT: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerProblem {
    /// TLS came back on a plaintext connection.
    #[error("it speaks TLS, and TLS is not switched on (security.protocol=ssl or sasl_ssl)")]
    SpeaksTls,
    /// HTTP came back.
    #[error("it answered in HTTP: this is a web server's port, not a broker's")]
    SpeaksHttp,
    /// Something else came back.
    #[error("it answered, but not in Kafka's protocol: is this a broker's port?")]
    SpeaksOther,
    /// A plaintext connection ended before the first answer.
    #[error(
        "it closed the connection without an answer: is this a TLS port, or is the broker just stopping?"
    )]
    ClosedPlain,
    /// The connection ended at the first request after the greeting, and we did not log in.
    #[error(
        "it closed the connection after the greeting: does this port want a login (security.protocol=sasl_plaintext or sasl_ssl)?"
    )]
    WantsLogin,
    /// A TLS connection ended before the first answer, and we showed no certificate.
    #[error(
        "it closed the connection right after the TLS handshake: does it want a client certificate (ssl.certificate.location)?"
    )]
    ClosedTls,
    /// A TLS connection ended before the first answer, although we showed a certificate.
    #[error("it closed the connection right after the TLS handshake: does it trust our client certificate?")]
    ClosedTlsDespiteCertificate,
    /// The connection ended in the TLS handshake.
    #[error("it closed the connection during the TLS handshake: is this a plaintext port?")]
    ClosedHandshake,
    /// Something other than TLS came back in the handshake.
    #[error("it answered in plaintext, not TLS: is this a plaintext port?")]
    NotTls,
    /// No chain to a trusted authority.
    #[error(
        "no authority that we trust signed its certificate (ssl.ca.location names the file of those to trust)"
    )]
    UnknownAuthority,
    /// The certificate of an authority used as a broker's, and not named as trusted.
    #[error(
        "its certificate is an authority's own (CA:TRUE) and not one that we trust: to trust it, ssl.ca.location must name it"
    )]
    AuthorityAsHost,
    /// X.509 before version 3.
    #[error(
        "its certificate is of X.509 version 1, which cannot name hosts: issue it again with a subjectAltName"
    )]
    OldCertificate,
    /// A certificate for other names.
    #[error("its certificate is for {}, not for this host", names(.presented))]
    WrongName {
        /// As the certificate has them.
        presented: Vec<String>,
    },
    /// Too late.
    #[error("its certificate has expired")]
    Expired,
    /// Too early.
    #[error("its certificate is not valid yet: is the clock right here and there?")]
    NotYetValid,
    /// Anything else about the certificate.
    #[error("its certificate cannot be used")]
    BadCertificate,
    /// No certificate shown where one is required.
    #[error("it wants a client certificate (ssl.certificate.location and ssl.key.location)")]
    WantsCertificate,
    /// Our certificate was refused.
    #[error("it refused our client certificate ({0:?})")]
    RefusedCertificate(AlertDescription),
    /// No version, cipher or group in common.
    #[error(
        "TLS has no version and cipher that it and we both know (TLS 1.2 and 1.3 with AES-GCM or ChaCha20 here)"
    )]
    NothingInCommon,
    /// Another alert.
    #[error("it ended TLS with the alert {0:?}")]
    Alert(AlertDescription),
    /// Anything else.
    #[error("TLS failed")]
    Tls,
}

fn names(presented: &[String]) -> String {
    match presented {
        // Java and OpenSSL of old fell back to the common name; rustls does not, as RFC 9110 has it.
        [] => "no host by name (a common name alone does not count)".to_owned(),
        some => some.join(", "),
    }
}

impl PeerProblem {
    /// Whether the same settings cannot lead to success later: trying again is of no use.
    pub(crate) fn is_lasting(&self) -> bool {
        // A broker that stops, or a load balancer without one, closes like this too.
        !matches!(
            self,
            Self::ClosedPlain
                | Self::WantsLogin
                | Self::ClosedTls
                | Self::ClosedTlsDespiteCertificate
                | Self::ClosedHandshake
                | Self::Tls
                | Self::Alert(_)
        )
    }

    /// What the first four bytes of an answer say: `None` if they can be the length of a Kafka frame.
    pub(crate) fn of_first_bytes(first: [u8; 4]) -> Option<Self> {
        if u32::from_be_bytes(first) <= MAX_FIRST_FRAME {
            return None;
        }
        Some(match first {
            // Content type (change cipher spec, alert, handshake, application data), then version 3.0 to 3.4.
            [0x14..=0x17, 0x03, 0x00..=0x04, _] => Self::SpeaksTls,
            [b'H', b'T', b'T', b'P'] => Self::SpeaksHttp,
            _ => Self::SpeaksOther,
        })
    }

    /// What the failure of a TLS handshake says. `presented`: whether we have a client certificate to show.
    pub(crate) fn of_handshake(error: &io::Error, presented: bool) -> Self {
        if is_closed(error) {
            Self::ClosedHandshake
        } else {
            Self::of_tls(error, presented)
        }
    }

    /// What a failure to read or write before the first answer says; `tls` is `None` in plaintext, else whether we have
    /// a client certificate to show. In TLS 1.3 the client has finished its handshake before the broker has seen the certificate, so a refusal comes here.
    pub(crate) fn of_first_io(error: &io::Error, tls: Option<bool>) -> Option<Self> {
        match tls {
            None => is_closed(error).then_some(Self::ClosedPlain),
            Some(false) if is_closed(error) => Some(Self::ClosedTls),
            Some(true) if is_closed(error) => Some(Self::ClosedTlsDespiteCertificate),
            Some(presented) => rustls_error(error).map(|_| Self::of_tls(error, presented)),
        }
    }

    fn of_tls(error: &io::Error, presented: bool) -> Self {
        match rustls_error(error) {
            Some(rustls::Error::InvalidCertificate(why)) => Self::of_certificate(why),
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls,
            Some(rustls::Error::PeerIncompatible(_)) => Self::NothingInCommon,
            Some(rustls::Error::AlertReceived(alert)) => Self::of_alert(*alert, presented),
            _ => Self::Tls,
        }
    }

    fn of_certificate(why: &CertificateError) -> Self {
        match why {
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName => Self::WrongName {
                presented: Vec::new(),
            },
            CertificateError::NotValidForNameContext { presented, .. } => Self::WrongName {
                presented: presented.iter().map(|name| readable(name)).collect(),
            },
            // rustls passes these two on from webpki in a box, and naming webpki would be a dependency more.
            CertificateError::Other(other) => match format!("{other:?}") {
                text if text.contains("CaUsedAsEndEntity") => Self::AuthorityAsHost,
                text if text.contains("UnsupportedCertVersion") => Self::OldCertificate,
                _ => Self::BadCertificate,
            },
            _ => Self::BadCertificate,
        }
    }

    fn of_alert(alert: AlertDescription, presented: bool) -> Self {
        use AlertDescription as A;
        match alert {
            A::CertificateRequired => Self::WantsCertificate,
            // What Java and OpenSSL say to a missing certificate in TLS 1.2, and Java in 1.3 too.
            A::BadCertificate | A::HandshakeFailure if !presented => Self::WantsCertificate,
            A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::DecryptError
                if presented =>
            {
                Self::RefusedCertificate(alert)
            }
            A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => Self::NothingInCommon,
            other => Self::Alert(other),
        }
    }

    /// Finds the problem that [`Stream`](super::stream::Stream) left in a request's error.
    pub(crate) fn find(error: &RequestError) -> Option<&Self> {
        let io = match error {
            RequestError::Poisoned(cause) => return Self::find(cause),
            RequestError::ReadFramedMessageError(frame::ReadError::IO(io))
            | RequestError::WriteMessageError(frame::WriteError::IO(io))
            | RequestError::IO(io) => io,
            _ => return None,
        };
        io.get_ref()?.downcast_ref()
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::NotConnected
    )
}

/// `DnsName("example.org")` as rustls shows it → `example.org`.
fn readable(presented: &str) -> String {
    let inner = presented.split_once('(').map_or(presented, |(_, rest)| rest);
    inner.trim_matches(|c| matches!(c, '"' | '(' | ')')).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plausible_frame_length_is_no_problem() {
        assert_eq!(PeerProblem::of_first_bytes([0, 0, 1, 2]), None);
        assert_eq!(
            PeerProblem::of_first_bytes([0x06, 0x40, 0, 0]),
            None,
            "a fetch of 100 MiB"
        );
    }

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        assert_eq!(
            PeerProblem::of_first_bytes([0x15, 3, 3, 0]),
            Some(PeerProblem::SpeaksTls)
        );
        assert_eq!(
            PeerProblem::of_first_bytes(*b"HTTP"),
            Some(PeerProblem::SpeaksHttp)
        );
        assert_eq!(
            PeerProblem::of_first_bytes(*b"SSH-"),
            Some(PeerProblem::SpeaksOther)
        );
        assert_eq!(
            PeerProblem::of_first_bytes([0xff; 4]),
            Some(PeerProblem::SpeaksOther)
        );
    }

    #[test]
    fn an_alert_means_another_thing_when_we_showed_a_certificate() {
        let alert = AlertDescription::BadCertificate;
        assert_eq!(PeerProblem::of_alert(alert, false), PeerProblem::WantsCertificate);
        assert_eq!(
            PeerProblem::of_alert(alert, true),
            PeerProblem::RefusedCertificate(alert)
        );
    }

    #[test]
    fn a_closed_connection_may_pass_and_a_wrong_name_does_not() {
        assert!(!PeerProblem::ClosedPlain.is_lasting());
        assert!(PeerProblem::WrongName { presented: vec![] }.is_lasting());
    }
}
