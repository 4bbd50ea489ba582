//! Handlers alone, without Kafka: HTTP posts and worker round trips per second on one thread.
//! `cargo bench --bench handlers`; the sink and the worker run beside it, so two cores are needed.
#![allow(missing_docs, clippy::print_stdout, reason = "a program, not a library")]

use std::io::{BufRead, BufWriter, Write};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use barnabas::handler::http::{Http, Settings};
use barnabas::handler::target::Target;
use barnabas::handler::worker::{self, Pool};
use barnabas::handler::{Delivery, Handler, Outcome};
use barnabas::{clock, record::OwnedRecord};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

const EVENTS: i64 = 300_000;
const ECHO: &str = "--echo-worker";

fn main() {
    if std::env::args().any(|argument| argument == ECHO) {
        return echo();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for at_once in [1, 16, 64, 256] {
            let target = Target::parse(&sink()).expect("a sound URL");
            let http = Handler::Http(Http::new(Settings::new(target)).expect("sound settings"));
            let events = if at_once == 1 { EVENTS / 10 } else { EVENTS };
            measure("http", &http, events, at_once).await;
        }
        for at_once in [1, 16, 64, 256] {
            let program = std::env::current_exe().expect("our own path");
            let pool = Pool::start(worker::Settings {
                command: vec![program.display().to_string(), ECHO.to_owned()],
                workers: NonZeroUsize::MIN,
                inflight: NonZeroUsize::new(at_once).expect("not zero"),
            });
            let handler = Handler::Worker(pool);
            handler.ready().await;
            let events = if at_once == 1 { EVENTS / 10 } else { EVENTS };
            measure("worker", &handler, events, at_once).await;
            handler.stop(Duration::from_secs(2)).await;
        }
    });
}

async fn measure(name: &str, handler: &Handler, events: i64, at_once: usize) {
    let (start, cpu) = (clock::now(), cpu());
    let mut running = FuturesUnordered::new();
    let mut next = 0;
    let mut done = 0;
    while done < events {
        while running.len() < at_once && next < events {
            running.push(handler.run(delivery(next), std::future::pending()));
            next += 1;
        }
        if let Some(answer) = running.next().await {
            assert_eq!(answer.outcome, Outcome::Done, "{}", answer.excerpt);
            done += 1;
        }
    }
    report(name, at_once, events, start, cpu);
}

fn report(name: &str, at_once: usize, events: i64, start: Instant, before: Duration) {
    let count = f64::from(i32::try_from(events).expect("small"));
    let rate = count / start.elapsed().as_secs_f64();
    let used = (cpu() - before).as_secs_f64() * 1e6 / count;
    println!(
        "{name:7} {at_once:4} at once: {rate:9.0} events/s, {used:5.1} us of CPU per event on this thread"
    );
}

/// What this thread has used so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = stat.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

/// As a producer makes them: 200 bytes of JSON and five attributes.
fn delivery(offset: i64) -> Delivery {
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("ce_source", "/shop"),
        ("ce_type", "order.completed"),
        ("ce_time", "2026-01-01T00:00:00Z"),
        ("content-type", "application/json"),
    ]
    .map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
    let value = br#"{"order":"0f8fad5b-d9cb-469f-a165-70867728950e","customer":"customer-4711","total":{"amount":129.95,"currency":"EUR"},"items":[{"sku":"A-1","count":2},{"sku":"B-7","count":1}],"note":"ring twice"}"#;
    let mut record = OwnedRecord::new(Some(b"customer-4711"), Some(value), &headers);
    record.timestamp = 1_767_225_600_000;
    Delivery {
        topic: "orders".into(),
        topic_id: [1; 16],
        partition: 0,
        offset,
        group: "bench".into(),
        token: 7,
        record: Arc::new(record),
        attempt: 1,
        deadline: Duration::from_secs(30),
        redelivered: false,
        origin: None,
    }
}

/// A server that answers 204 to whatever it reads, on a thread of its own with as little work as can be. Its URL.
fn sink() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/events", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        listener.set_nonblocking(true).expect("a socket");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(swallow(stream));
            }
        });
    });
    url
}

/// A request comes in one piece, and one at a time.
async fn swallow(stream: tokio::net::TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = stream;
    let _ = stream.set_nodelay(true);
    let mut read = [0; 4096];
    while let Ok(n) = stream.read(&mut read).await {
        if n == 0
            || stream
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .is_err()
        {
            return;
        }
    }
}

/// A worker that says yes to all, in as large pieces as it reads.
fn echo() {
    let mut input = std::io::BufReader::with_capacity(64 << 10, std::io::stdin().lock());
    let mut output = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let id = line.get(6..).unwrap_or_default();
        let end = id.iter().position(|&byte| byte == b',').unwrap_or_default();
        output.write_all(b"{\"id\":").expect("a reader");
        output.write_all(&id[..end]).expect("a reader");
        output.write_all(b",\"ok\":true}\n").expect("a reader");
        if input.buffer().is_empty() {
            output.flush().expect("a reader");
        }
        line.clear();
    }
}
