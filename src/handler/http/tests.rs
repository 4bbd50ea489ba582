//! Against small servers on loopback that behave as servers should not.

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::super::Sign;
use super::super::credentials::{Scheme, Source};
use super::super::tests::{delivery, holding, record, with};
use super::*;

const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// For what must happen soon.
const SOON: Duration = Duration::from_secs(10);

fn test(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, future).await.expect("it hangs") });
}

/// A server whose connections, numbered from 0, are served by a script. Its URL, and how many connections there were.
async fn server<F, S>(script: S) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(usize, TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(counted.fetch_add(1, Ordering::SeqCst), stream));
        }
    });
    (url, count)
}

/// A server that says the same to each request, and closes no connection.
async fn saying(answer: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    server(move |_, mut stream| async move {
        while request(&mut stream).await.is_some() {
            stream.write_all(answer).await.unwrap();
        }
    })
    .await
}

/// Reads a request; `None` at the end of the connection.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

fn settings(url: &str) -> Settings {
    Settings::new(Target::parse(url).unwrap())
}

fn http(url: &str) -> Http {
    Http::new(settings(url)).unwrap()
}

async fn post(http: &Http) -> Answer {
    http.clone().run(delivery(), std::future::pending()).await
}

async fn post_within(http: &Http, millis: u64) -> Answer {
    let short = Delivery {
        deadline: Duration::from_millis(millis),
        ..delivery()
    };
    http.clone().run(short, std::future::pending()).await
}

const LOST: Outcome = Outcome::Lost { reaped: false };

#[test]
fn events_go_one_after_another_over_one_connection() {
    test(async {
        let (url, connections) = saying(NO_CONTENT).await;
        let http = http(&url);
        for _ in 0..5 {
            assert_eq!(post(&http).await, Answer::done());
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
        assert_eq!(http.idle(), 1);
        http.stop();
        assert_eq!(http.idle(), 0);
    });
}

#[test]
fn a_request_is_what_the_event_is() {
    test(async {
        let (sent, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let (url, _) = server(move |_, mut stream| {
            let sent = sent.clone();
            async move {
                while let Some(text) = request(&mut stream).await {
                    sent.send(text).unwrap();
                    stream.write_all(NO_CONTENT).await.unwrap();
                }
            }
        })
        .await;
        let http = http(&format!("{url}/events/{{id}}?x=1"));
        let id: [(&str, Option<&[u8]>); 1] = [("ce_id", Some(b"a b"))];
        let with_id = with(&id);
        let tombstone = Delivery {
            record: record(Some(b"k 1"), None, &id),
            ..delivery()
        };
        http.clone().run(with_id, std::future::pending()).await;
        let text = seen.recv().await.unwrap();
        assert!(text.starts_with("POST /events/a%20b?x=1 HTTP/1.1\r\n"), "{text}");
        let host = format!("\r\nhost: {}\r\n", url.strip_prefix("http://").unwrap());
        for part in [
            host.as_str(),
            "\r\nce-id: a%20b\r\n",
            "\r\nbarnabas-attempt: 2\r\n",
            "\r\n\r\n{\"a\":1}",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        http.run(tombstone, std::future::pending()).await;
        let text = seen.recv().await.unwrap();
        assert!(
            text.contains("\r\ncontent-length: 0\r\n") && text.contains("barnabas-tombstone: true"),
            "{text}"
        );
    });
}

#[test]
fn an_answers_reason_is_kept() {
    test(async {
        let (url, _) =
            saying(b"HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 13\r\n\r\nno such order").await;
        let answer = post(&http(&url)).await;
        assert_eq!(answer.outcome, Outcome::Reject);
        assert_eq!(answer.status.as_deref(), Some("422"));
        assert_eq!(answer.excerpt, "422 Unprocessable Entity: no such order");
    });
}

#[test]
fn a_pause_is_measured_by_the_servers_own_clock() {
    test(async {
        let (url, _) = saying(b"HTTP/1.1 503 x\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\ncontent-length: 0\r\n\r\n").await;
        let pause = Some(Duration::from_secs(30));
        let wanted = Outcome::Retry {
            sign: Sign::Unavailable,
            after: None,
            pause,
        };
        assert_eq!(post(&http(&url)).await.outcome, wanted);
    });
}

#[test]
fn a_refused_connection_holds() {
    test(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let answer = post(&http(&url)).await;
        assert_eq!(answer.outcome, Outcome::Hold);
        assert!(answer.excerpt.contains("refused it"), "{}", answer.excerpt);
        assert_eq!(post(&http("unix:/no/such/socket")).await.outcome, Outcome::Hold);
    });
}

#[test]
fn a_new_connection_that_breaks_is_lost() {
    test(async {
        let (url, connections) = server(|_, mut stream| async move {
            request(&mut stream).await;
        })
        .await;
        assert_eq!(post(&http(&url)).await.outcome, LOST);
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_used_connection_that_breaks_is_repeated_once_on_a_new_one() {
    test(async {
        let (url, connections) = server(|number, mut stream| async move {
            if number < 2 {
                request(&mut stream).await;
                stream.write_all(NO_CONTENT).await.unwrap();
            }
            // The next one is read, and then nothing comes.
            request(&mut stream).await;
        })
        .await;
        let http = http(&url);
        assert_eq!(post(&http).await, Answer::done());
        assert_eq!(post(&http).await, Answer::done());
        assert_eq!(connections.load(Ordering::SeqCst), 2);
        // The third connection breaks at once: lost, not repeated again.
        assert_eq!(post(&http).await.outcome, LOST);
        assert_eq!(connections.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn a_used_connection_that_breaks_within_the_answer_is_not_repeated() {
    test(async {
        let (url, connections) = server(|_, mut stream| async move {
            request(&mut stream).await;
            stream.write_all(NO_CONTENT).await.unwrap();
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 20").await.unwrap();
        })
        .await;
        let http = http(&url);
        assert_eq!(post(&http).await, Answer::done());
        assert_eq!(post(&http).await.outcome, LOST);
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_connection_closed_while_idle_is_not_used() {
    test(async {
        let (url, connections) = server(|_, mut stream| async move {
            request(&mut stream).await;
            stream.write_all(NO_CONTENT).await.unwrap();
        })
        .await;
        let http = http(&url);
        for _ in 0..3 {
            assert_eq!(post(&http).await, Answer::done());
        }
        assert_eq!(connections.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn connection_close_is_obeyed() {
    test(async {
        let (url, _) = saying(b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2\r\n\r\nok").await;
        let http = http(&url);
        assert_eq!(post(&http).await, Answer::done());
        assert_eq!(http.idle(), 0);
    });
}

#[test]
fn no_answer_in_time_is_lost_and_the_connection_closed() {
    test(async {
        let (sent, mut closed) = tokio::sync::mpsc::unbounded_channel();
        let (url, _) = server(move |_, mut stream| {
            let sent = sent.clone();
            async move {
                request(&mut stream).await;
                let end = stream.read(&mut [0]).await;
                sent.send(end.is_err() || end.is_ok_and(|n| n == 0)).unwrap();
            }
        })
        .await;
        let answer = post_within(&http(&url), 50).await;
        assert_eq!(answer.outcome, LOST);
        assert_eq!(answer.excerpt, "no whole answer within 0.05 s");
        assert_eq!(closed.recv().await, Some(true));
    });
}

#[test]
fn on_timeout_wait_waits_while_the_connection_lives() {
    test(async {
        let (url, _) = server(|_, mut stream| async move {
            request(&mut stream).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.write_all(NO_CONTENT).await.unwrap();
        })
        .await;
        let patient = Settings {
            on_timeout: OnTimeout::Wait,
            ..settings(&url)
        };
        assert_eq!(
            post_within(&Http::new(patient).unwrap(), 20).await,
            Answer::done()
        );
    });
}

#[test]
fn an_endless_body_is_cut_and_its_status_counts() {
    test(async {
        let (url, _) = server(|_, mut stream| async move {
            request(&mut stream).await;
            let head = b"HTTP/1.1 400 Bad\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
            while stream.write_all(&chunk).await.is_ok() {}
        })
        .await;
        let http = http(&url);
        let answer = post(&http).await;
        assert_eq!(answer.outcome, Outcome::Reject);
        assert!(answer.excerpt.len() < BODY_EXCERPT + 100);
        assert_eq!(http.idle(), 0);
    });
}

fn large() -> Delivery {
    holding(Some(&vec![b'x'; 8 << 20]))
}

#[test]
fn large_data_arrive_whole() {
    test(async {
        let (url, _) = server(|_, mut stream| async move {
            let mut read = Vec::new();
            while read.len() < 8 << 20 {
                assert!(stream.read_buf(&mut read).await.unwrap() > 0);
            }
            let head = read.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
            while read.len() < head + 4 + (8 << 20) {
                assert!(stream.read_buf(&mut read).await.unwrap() > 0);
            }
            assert!(read[head + 4..].iter().all(|byte| *byte == b'x'));
            stream.write_all(NO_CONTENT).await.unwrap();
            stream.read_buf(&mut read).await.unwrap();
        })
        .await;
        let http = http(&url);
        let answer = http.clone().run(large(), std::future::pending()).await;
        assert_eq!(answer, Answer::done());
        assert_eq!(http.idle(), 1);
    });
}

#[test]
fn an_answer_before_all_was_sent_counts_and_ends_the_connection() {
    test(async {
        let (url, _) = server(|_, mut stream| async move {
            assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
            let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            // The rest is never read, and the connection stays.
            std::future::pending::<()>().await;
        })
        .await;
        let http = http(&url);
        let answer = http.clone().run(large(), std::future::pending()).await;
        assert_eq!(answer.outcome, Outcome::Reject, "{}", answer.excerpt);
        assert_eq!(http.idle(), 0);
    });
}

#[test]
fn a_body_that_trickles_is_lost_at_the_deadline() {
    test(async {
        let (url, _) = server(|_, mut stream| async move {
            request(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
                .await
                .unwrap();
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(post_within(&http(&url), 100).await.outcome, LOST);
    });
}

#[test]
fn half_an_answer_and_garbage_are_lost() {
    test(async {
        for garbage in [
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            b"\x15\x03\x01\x00\x02\x02\x16",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200",
            b"",
        ] {
            let (url, _) = server(move |_, mut stream| async move {
                request(&mut stream).await;
                let _ = stream.write_all(garbage).await;
                let _ = stream.shutdown().await;
                // Half-closed: it still reads.
                while stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
            })
            .await;
            let answer = post(&http(&url)).await;
            assert_eq!(answer.outcome, LOST, "{garbage:?}: {}", answer.excerpt);
        }
    });
}

#[test]
fn a_head_without_end_is_lost() {
    test(async {
        let (url, _) = server(|_, mut stream| async move {
            request(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            while stream
                .write_all(b"x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
                .await
                .is_ok()
            {}
        })
        .await;
        assert_eq!(post(&http(&url)).await.outcome, LOST);
    });
}

#[test]
fn informational_answers_are_skipped_and_switching_protocols_holds() {
    test(async {
        let (url, _) = saying(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(post(&http(&url)).await, Answer::done());
        let (url, _) =
            saying(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
        let http = http(&url);
        assert_eq!(post(&http).await.outcome, Outcome::Hold);
        assert_eq!(http.idle(), 0);
    });
}

#[test]
fn a_redirect_is_never_followed() {
    test(async {
        let (url, connections) =
            saying(b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n").await;
        let answer = post(&http(&url)).await;
        assert_eq!(answer.outcome, Outcome::Hold);
        assert_eq!(answer.excerpt, "302 Found to /login");
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn cancelling_closes_the_connection() {
    test(async {
        let (sent, mut closed) = tokio::sync::mpsc::unbounded_channel();
        let (url, _) = server(move |_, mut stream| {
            let sent = sent.clone();
            async move {
                request(&mut stream).await;
                sent.send(()).unwrap();
                let _ = stream.read(&mut [0]).await;
                sent.send(()).unwrap();
            }
        })
        .await;
        let answer = {
            let closed = &mut closed;
            http(&url)
                .run(delivery(), async move { closed.recv().await.unwrap() })
                .await
        };
        assert_eq!(answer.outcome, Outcome::Aborted);
        closed.recv().await.unwrap();
    });
}

#[test]
fn an_event_that_does_not_fit_is_rejected_without_a_request() {
    test(async {
        let (url, connections) = saying(NO_CONTENT).await;
        assert_eq!(
            post(&http(&format!("{url}/{{subject}}"))).await.outcome,
            Outcome::Reject
        );
        let broken = with(&[("content-type", Some(b"application/cloudevents+json"))]);
        let answer = http(&url).run(broken, std::future::pending()).await;
        assert_eq!(answer.outcome, Outcome::Reject);
        assert_eq!(connections.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_unix_socket_is_a_target_too() {
    test(async {
        let path = std::env::temp_dir().join(format!("barnabas-http-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Some(text) = request(&mut stream).await {
                assert!(
                    text.starts_with("POST /in HTTP/1.1\r\nhost: localhost\r\n"),
                    "{text}"
                );
                stream.write_all(NO_CONTENT).await.unwrap();
            }
        });
        let http = http(&format!("unix:{}:/in", path.display()));
        assert_eq!(post(&http).await, Answer::done());
        assert_eq!(post(&http).await, Answer::done());
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn idle_connections_live_a_second_and_a_half() {
    test(async {
        let (url, _) = saying(NO_CONTENT).await;
        let http = http(&url);
        let start = clock::now();
        post(&http).await;
        while http.idle() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(start.elapsed() >= super::super::pool::IDLE_LIMIT);
    });
}

#[test]
fn credentials_go_only_where_nobody_can_listen() {
    test(async {
        let file = std::env::temp_dir().join(format!("barnabas-http-token-{}", std::process::id()));
        std::fs::write(&file, "secret\n").unwrap();
        let with = |url: &str| Settings {
            credentials: Some(Source {
                scheme: Scheme::Bearer,
                file: file.clone(),
            }),
            ..settings(url)
        };
        let refused = Http::new(with("http://api.example/")).err().unwrap();
        assert!(refused.to_string().contains("unencrypted"), "{refused}");
        let (url, _) = server(|_, mut stream| async move {
            let text = request(&mut stream).await.unwrap();
            assert!(text.contains("authorization: Bearer secret\r\n"), "{text}");
            stream.write_all(NO_CONTENT).await.unwrap();
        })
        .await;
        assert_eq!(post(&Http::new(with(&url)).unwrap()).await, Answer::done());
        std::fs::remove_file(&file).unwrap();
    });
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/tls")
        .join(name)
}

async fn answer_once(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    request(&mut stream).await;
    stream.write_all(NO_CONTENT).await.unwrap();
    stream.flush().await.unwrap();
    request(&mut stream).await;
}

#[test]
fn https_is_spoken_and_the_certificate_checked() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    test(async {
        let chain = CertificateDer::pem_file_iter(data("server-ec.pem"))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let key = PrivateKeyDer::from_pem_file(data("server-ec.key.pem")).unwrap();
        let provider = Arc::new(rustls_graviola::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let (url, _) = server(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer_once(stream).await;
                }
            }
        })
        .await;
        let port = url.rsplit_once(':').unwrap().1;
        let trusting = |ca| Settings {
            tls: TlsSettings {
                ca: Some(data(ca)),
                ..TlsSettings::default()
            },
            ..settings(&format!("https://localhost:{port}/"))
        };
        assert_eq!(
            post(&Http::new(trusting("ca.pem")).unwrap()).await,
            Answer::done()
        );
        let answer = post(&Http::new(trusting("other-ca.pem")).unwrap()).await;
        assert_eq!(answer.outcome, Outcome::Hold);
        assert!(answer.excerpt.contains("--http-ca"), "{}", answer.excerpt);
        let missing = Http::new(trusting("no-such.pem")).err().unwrap();
        let why = std::error::Error::source(&missing).unwrap().to_string();
        assert!(why.starts_with("cannot read --http-ca"), "{why}");
    });
}

#[test]
fn a_handler_is_ready_when_it_accepts_connections_or_says_so() {
    test(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let http = http(&format!("http://{address}"));
        let waiting = tokio::spawn(async move { http.ready().await });
        tokio::task::yield_now().await;
        let _listener = TcpListener::bind(address).await.unwrap();
        waiting.await.unwrap();

        let (url, requests) = server(|number, mut stream| async move {
            let text = request(&mut stream).await.unwrap();
            assert!(text.starts_with("GET /ready HTTP/1.1\r\n"), "{text}");
            let answer = if number == 0 {
                &b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"[..]
            } else {
                NO_CONTENT
            };
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let told = Settings {
            ready: Some(Target::parse(&format!("{url}/ready")).unwrap()),
            ..settings(&url)
        };
        Http::new(told).unwrap().ready().await;
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn what_an_event_takes_while_it_is_handled_is_small() {
    let handler = super::super::Handler::Http(http("http://127.0.0.1:1/"));
    let run = handler.run(delivery(), std::future::pending());
    // There is one for each event: of up to 1,032 bytes glibc keeps some at hand, per thread and without a lock.
    assert!(size_of_val(&run) <= 960, "{}", size_of_val(&run));
}
