//! Connections to peers of all kinds that live in the test: plain, TLS, neither. Certificates: `tests/data/tls/make.sh`.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use rskafka::messenger::Messenger;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::broker::settings::TlsSettings;

/// For anything here to happen that must happen at once.
const LIMIT: Duration = Duration::from_secs(10);

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/tls")
        .join(name)
}

fn localhost(port: u16) -> HostPort {
    HostPort {
        host: "localhost".to_owned(),
        port,
    }
}

fn trusting(ca: &str) -> TlsSettings {
    TlsSettings {
        ca: Some(data(ca)),
        ..TlsSettings::default()
    }
}

fn showing(certificate: &str, key: &str) -> TlsSettings {
    TlsSettings {
        certificate: Some(data(certificate)),
        key: Some(data(key)),
        ..trusting("ca.pem")
    }
}

/// How the peer behaves.
struct Peer {
    certificate: &'static str,
    wants_client_of: Option<&'static str>,
    versions: Versions,
}

type Versions = &'static [&'static SupportedProtocolVersion];
const ONLY_13: Versions = &[&rustls::version::TLS13];
const ONLY_12: Versions = &[&rustls::version::TLS12];
const BOTH: Versions = &[&rustls::version::TLS13, &rustls::version::TLS12];

impl Peer {
    fn with(certificate: &'static str) -> Self {
        Self {
            certificate,
            wants_client_of: None,
            versions: BOTH,
        }
    }

    fn config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls_graviola::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .unwrap();
        let builder = match self.wants_client_of {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots
                    .add(CertificateDer::from_pem_file(data(ca)).unwrap())
                    .unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let certificate = CertificateDer::from_pem_file(data(&format!("{}.pem", self.certificate))).unwrap();
        let key = PrivateKeyDer::from_pem_file(data(&format!("{}.key.pem", self.certificate))).unwrap();
        // Not `with_single_cert`, which would refuse to serve what some of these tests want served.
        let key = rustls_graviola::default_provider()
            .key_provider
            .load_private_key(key)
            .unwrap();
        let certified = rustls::sign::CertifiedKey::new(vec![certificate], key);
        Arc::new(builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified))))
    }

    /// Serves connections by echo until the test ends, each resumed or not as the last word of what it sends back.
    async fn serve(self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(self.config());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                // A handshake that fails is the test's matter at the other end.
                if let Ok(mut tls) = acceptor.accept(tcp).await {
                    tokio::spawn(async move {
                        let mut frame = [0; 9];
                        tls.read_exact(&mut frame).await.ok()?;
                        tls.write_all(&frame).await.ok()?;
                        let resumed =
                            tls.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
                        tls.write_all(&[u8::from(resumed)]).await.ok()?;
                        tls.shutdown().await.ok()
                    });
                }
            }
        });
        port
    }
}

/// A peer that reads `expect` bytes of whatever comes, says `says`, and closes.
async fn peer_that_says(expect: usize, says: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut heard = vec![0; expect];
            tcp.read_exact(&mut heard).await.ok();
            tcp.write_all(says).await.ok();
            tcp.shutdown().await.ok();
            // Reads to the end, so that unread bytes do not turn the close into a reset.
            tcp.read_to_end(&mut heard).await.ok();
        }
    });
    port
}

async fn opened(port: u16, settings: &TlsSettings) -> Result<Stream, OpenError> {
    let tls = TlsConnector::prepare(settings).unwrap();
    Ok(timely(open(&localhost(port), Some(&tls), &Progress::default()))
        .await?
        .0)
}

async fn timely<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("took longer than 10 s")
}

/// Sends a frame, and returns whether the session was resumed.
async fn echo(stream: &mut Stream) -> io::Result<bool> {
    let talk = async {
        stream.write_all(&[0, 0, 0, 5]).await?;
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        let mut back = [0; 10];
        stream.read_exact(&mut back).await?;
        assert_eq!(&back[..9], b"\0\0\0\x05hello");
        Ok(back[9] == 1)
    };
    timely(talk).await
}

async fn problem(port: u16, settings: &TlsSettings) -> PeerProblem {
    match opened(port, settings).await {
        Err(OpenError::Tls { problem, .. }) => problem,
        Err(other) => panic!("{other}: {:?}", other.source()),
        Ok(mut stream) => {
            let error = echo(&mut stream).await.expect_err("the peer was content");
            error
                .get_ref()
                .and_then(|inner| inner.downcast_ref())
                .cloned()
                .unwrap_or_else(|| panic!("{error:?}"))
        }
    }
}

#[tokio::test]
async fn a_trusted_peer_is_talked_to_with_rsa_and_ec_keys_in_both_versions() {
    for certificate in ["server-rsa", "server-ec"] {
        for versions in [ONLY_13, ONLY_12] {
            let port = Peer {
                versions,
                ..Peer::with(certificate)
            }
            .serve()
            .await;
            let mut stream = opened(port, &trusting("both-cas.pem")).await.unwrap();
            echo(&mut stream).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_second_connection_resumes_the_session() {
    let port = Peer::with("server-rsa").serve().await;
    let tls = TlsConnector::prepare(&trusting("ca.pem")).unwrap();
    let mut resumed = Vec::new();
    for _ in 0..2 {
        let (mut stream, _) = open(&localhost(port), Some(&tls), &Progress::default())
            .await
            .unwrap();
        resumed.push(echo(&mut stream).await.unwrap());
    }
    assert_eq!(resumed, [false, true]);
}

#[tokio::test]
async fn a_host_given_as_address_is_checked_as_address() {
    let port = Peer::with("server-ec").serve().await;
    let tls = TlsConnector::prepare(&trusting("ca.pem")).unwrap();
    let broker = HostPort {
        host: "127.0.0.1".to_owned(),
        port,
    };
    assert!(open(&broker, Some(&tls), &Progress::default()).await.is_ok());
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let port = Peer::with("server-ec").serve().await;
    assert_eq!(
        problem(port, &trusting("other-ca.pem")).await,
        PeerProblem::UnknownAuthority
    );
    let skipping = TlsSettings {
        skip_host_check: true,
        ..trusting("other-ca.pem")
    };
    assert_eq!(
        problem(port, &skipping).await,
        PeerProblem::UnknownAuthority,
        "only the name may be skipped"
    );
}

#[tokio::test]
async fn a_wrong_name_is_refused_with_the_names_presented_unless_skipped() {
    let port = Peer::with("server-elsewhere").serve().await;
    let error = opened(port, &trusting("ca.pem")).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("is for kafka.example.org, *.example.net, 192.0.2.7, not for this host"),
        "{text}"
    );
    assert!(error.is_lasting());

    let skipping = TlsSettings {
        skip_host_check: true,
        ..trusting("ca.pem")
    };
    for versions in [BOTH, ONLY_12] {
        let port = Peer {
            versions,
            ..Peer::with("server-elsewhere")
        }
        .serve()
        .await;
        echo(&mut opened(port, &skipping).await.unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_signed_by_itself_is_trusted_when_named() {
    for (certificate, pem, stranger) in [
        (
            "server-self-issued",
            "server-self-issued.pem",
            PeerProblem::UnknownAuthority,
        ),
        (
            "server-self-signed",
            "server-self-signed.pem",
            PeerProblem::AuthorityAsHost,
        ),
    ] {
        let port = Peer::with(certificate).serve().await;
        echo(&mut opened(port, &trusting(pem)).await.unwrap())
            .await
            .unwrap();
        assert_eq!(problem(port, &trusting("ca.pem")).await, stranger);
    }
}

#[tokio::test]
async fn a_named_authority_as_host_is_still_checked_for_its_name_and_dates() {
    let by_address = HostPort {
        host: "127.0.0.1".to_owned(),
        port: Peer::with("server-self-signed").serve().await,
    };
    let tls = TlsConnector::prepare(&trusting("server-self-signed.pem")).unwrap();
    let error = timely(open(&by_address, Some(&tls), &Progress::default()))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Tls {
                problem: PeerProblem::WrongName { .. },
                ..
            }
        ),
        "{error}"
    );

    let port = Peer::with("server-self-signed-expired").serve().await;
    assert_eq!(
        problem(port, &trusting("server-self-signed-expired.pem")).await,
        PeerProblem::Expired
    );
}

#[tokio::test]
async fn each_flaw_of_a_certificate_is_told_apart() {
    let of = async |certificate, ca| problem(Peer::with(certificate).serve().await, &trusting(ca)).await;
    assert_eq!(of("server-expired", "ca.pem").await, PeerProblem::Expired);
    assert_eq!(
        of("server-common-name", "ca.pem").await,
        PeerProblem::WrongName { presented: vec![] }
    );
    assert_eq!(of("server-v1", "ca.pem").await, PeerProblem::OldCertificate);
    // Expiry is not part of the name.
    let skipping = TlsSettings {
        skip_host_check: true,
        ..trusting("ca.pem")
    };
    let port = Peer::with("server-expired").serve().await;
    assert_eq!(problem(port, &skipping).await, PeerProblem::Expired);
}

#[tokio::test]
async fn client_certificates_with_each_kind_of_key_are_accepted() {
    let port = Peer {
        wants_client_of: Some("ca.pem"),
        ..Peer::with("server-rsa")
    }
    .serve()
    .await;
    for (certificate, key) in [
        ("client-rsa.pem", "client-rsa.key.pem"),
        ("client-rsa.pem", "client-rsa.pkcs1.key.pem"),
        ("client-ec.pem", "client-ec.key.pem"),
        ("client-ec.pem", "client-ec.sec1.key.pem"),
    ] {
        let mut stream = opened(port, &showing(certificate, key)).await.unwrap();
        echo(&mut stream)
            .await
            .unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    let in_one_file = TlsSettings {
        certificate: Some(data("client-ec.both.pem")),
        ..trusting("ca.pem")
    };
    echo(&mut opened(port, &in_one_file).await.unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_missing_client_certificate_is_told_in_both_versions() {
    for versions in [ONLY_13, ONLY_12] {
        let peer = Peer {
            wants_client_of: Some("ca.pem"),
            versions,
            ..Peer::with("server-ec")
        };
        assert_eq!(
            problem(peer.serve().await, &trusting("ca.pem")).await,
            PeerProblem::WantsCertificate
        );
    }
}

#[tokio::test]
async fn a_client_certificate_of_a_stranger_is_told_in_both_versions() {
    for versions in [ONLY_13, ONLY_12] {
        let peer = Peer {
            wants_client_of: Some("ca.pem"),
            versions,
            ..Peer::with("server-ec")
        };
        let stranger = showing("client-stranger.pem", "client-stranger.key.pem");
        let found = problem(peer.serve().await, &stranger).await;
        assert!(matches!(found, PeerProblem::RefusedCertificate(_)), "{found:?}");
    }
}

#[tokio::test]
async fn tls_to_a_plaintext_port_is_told_by_answer_and_by_close() {
    let port = peer_that_says(5, b"\0\0\0\x04nope").await;
    assert_eq!(problem(port, &trusting("ca.pem")).await, PeerProblem::NotTls);
    let port = peer_that_says(5, b"").await;
    assert_eq!(
        problem(port, &trusting("ca.pem")).await,
        PeerProblem::ClosedHandshake
    );
}

/// What rskafka's `Messenger` makes of a peer on a plaintext connection.
async fn plain_problem(port: u16) -> PeerProblem {
    let (stream, _) = open(&localhost(port), None, &Progress::default()).await.unwrap();
    let mut messenger = Messenger::new(stream, 1 << 20, Arc::from("test"));
    let error = timely(messenger.sync_versions())
        .await
        .expect_err("the peer was content");
    let rskafka::messenger::SyncVersionsError::RequestError(error) = error else {
        panic!("{error}")
    };
    PeerProblem::find(&error)
        .cloned()
        .unwrap_or_else(|| panic!("{error:?}"))
}

#[tokio::test]
async fn plaintext_to_other_ports_is_told_through_the_messenger() {
    let alert = peer_that_says(4, b"\x15\x03\x03\0\x02\x02\x50").await;
    assert_eq!(plain_problem(alert).await, PeerProblem::SpeaksTls);
    let web = peer_that_says(4, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(plain_problem(web).await, PeerProblem::SpeaksHttp);
    let mail = peer_that_says(4, b"220 mail.example.org ESMTP\r\n").await;
    assert_eq!(plain_problem(mail).await, PeerProblem::SpeaksOther);
    let silent = peer_that_says(4, b"").await;
    assert_eq!(plain_problem(silent).await, PeerProblem::ClosedPlain);
    let tls = Peer::with("server-ec").serve().await;
    assert_eq!(plain_problem(tls).await, PeerProblem::SpeaksTls);
}

#[tokio::test]
async fn a_frame_in_pieces_is_still_looked_at() {
    let (there, here) = pair().await;
    let mut stream = Stream::new(Transport::Plain(here), None);
    let mut there = there;
    for byte in *b"HTT" {
        there.write_all(&[byte]).await.unwrap();
        assert_eq!(timely(stream.read_u8()).await.unwrap(), byte);
    }
    there.write_all(b"P").await.unwrap();
    let error = timely(stream.read_u8()).await.unwrap_err();
    assert!(error.get_ref().unwrap().downcast_ref() == Some(&PeerProblem::SpeaksHttp));
}

#[tokio::test]
async fn what_comes_after_the_first_answer_is_passed_on_as_it_is() {
    let (mut there, here) = pair().await;
    let mut stream = Stream::new(Transport::Plain(here), None);
    there.write_all(b"\0\0\0\x01xHTTP").await.unwrap();
    drop(there);
    let mut all = Vec::new();
    timely(stream.read_to_end(&mut all)).await.unwrap();
    assert_eq!(all, b"\0\0\0\x01xHTTP", "and the end is an end, not an error");
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let here = connect_one(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, here)
}

#[tokio::test]
async fn a_length_and_its_frame_leave_in_one_write() {
    let (mut there, here) = pair().await;
    let mut stream = Stream::new(Transport::Plain(here), None);
    stream.write_all(&[0, 0, 0, 5]).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut heard = [0; 64];
    let len = timely(there.read(&mut heard)).await.unwrap();
    assert_eq!(&heard[..len], b"\0\0\0\x05hello");
}

#[tokio::test]
async fn a_length_alone_leaves_when_flushed() {
    let (mut there, here) = pair().await;
    let mut stream = Stream::new(Transport::Plain(here), None);
    stream.write_all(&[0, 0, 0, 0]).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(timely(there.read_u32()).await.unwrap(), 0);
}

#[tokio::test]
async fn frames_of_all_sizes_arrive_whole_through_full_buffers() {
    let (there, here) = pair().await;
    let mut stream = Stream::new(Transport::Plain(here), None);
    let sizes = [0_usize, 1, 3, 4, 5, 8, 4_096, 1 << 20, 4, 4, 6 << 20, 2];
    let mut sent = Vec::new();
    for (index, size) in sizes.into_iter().enumerate() {
        sent.extend(u32::try_from(size).unwrap().to_be_bytes());
        sent.extend(std::iter::repeat_n(u8::try_from(index).unwrap(), size));
    }
    let reader = tokio::spawn(async move {
        let mut there = there;
        let mut all = Vec::new();
        there.read_to_end(&mut all).await.map(|_| all)
    });
    let mut rest = &sent[..];
    for size in sizes {
        let (frame, after) = rest.split_at(LENGTH + size);
        stream.write_all(&frame[..LENGTH]).await.unwrap();
        stream.write_all(&frame[LENGTH..]).await.unwrap();
        stream.flush().await.unwrap();
        rest = after;
    }
    stream.shutdown().await.unwrap();
    assert!(timely(reader).await.unwrap().unwrap() == sent);
}

#[tokio::test]
async fn a_refused_connection_names_every_address_tried() {
    // Bound and closed again: a port where surely nobody listens, for a moment.
    let port = TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let progress = Progress::default();
    let broker = HostPort {
        host: "127.0.0.1".to_owned(),
        port,
    };
    let error = timely(open(&broker, None, &progress)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no connection to 127.0.0.1:{port}: 127.0.0.1:{port} refused it (is a broker listening there?)"
        )
    );
    assert_eq!(progress.phase(), Phase::Connect);
    assert!(!error.is_lasting());
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let good = listener.local_addr().unwrap();
    let refusing = TcpListener::bind(("127.0.0.2", 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (_, address) = timely(connect(vec![refusing, good])).await.unwrap();
    assert_eq!(address, good);
    let failed = timely(connect(vec![refusing, refusing])).await.unwrap_err();
    assert_eq!(failed.len(), 2);
}

#[tokio::test]
async fn a_silent_address_does_not_hold_up_the_next() {
    // A listener whose queue is full does not answer: as good as a dead route, without leaving the machine.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let silent = silent.listen(1).unwrap();
    let address = silent.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(Ok(tcp)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        held.push(tcp);
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let good = listener.local_addr().unwrap();
    let (_, reached) = timely(connect(vec![address, good])).await.unwrap();
    assert_eq!(reached, good);
}

#[tokio::test]
async fn nodelay_and_keepalive_are_set() {
    let (_there, here) = pair().await;
    assert!(here.nodelay().unwrap());
    assert!(SockRef::from(&here).keepalive().unwrap());
}

#[tokio::test]
async fn an_unknown_name_is_told() {
    let broker = HostPort {
        host: "no-such-host.invalid".to_owned(),
        port: 9092,
    };
    let error = timely(open(&broker, None, &Progress::default()))
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::Resolve { .. }));
    assert_eq!(error.to_string(), "no connection to no-such-host.invalid:9092");
    assert!(error.source().is_some());
}
