//! Starts real Kafka for work by hand: `cargo run --example kafka-up -- [one|three|secured] [--port N] [--full] [--stay]`.
//!
//! and `kafka-up topic PORT NAME [PARTITIONS [CONFIG=VALUE…]]` creates a topic.
//!
//! Prints the addresses on stdout and stays until stdin closes (with `--stay`: until it is killed); the brokers end
//! with it. `--full` runs the JVM as a real broker's, for measurements.
#![allow(
    clippy::print_stdout,
    reason = "a tool for developers, not part of the binary"
)]

#[path = "mod.rs"]
mod support;

use support::{Jvm, Kafka, Options};

fn main() {
    let mut options = Options::default();
    let mut stay = false;
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if_eq("topic").is_some() {
        return create_topic(&args.collect::<Vec<_>>());
    }
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "one" => {}
            "three" => options.brokers = 3,
            "secured" => options.secured = true,
            "--full" => options.jvm = Jvm::Full,
            "--stay" => stay = true,
            "--port" => options.port = args.next().and_then(|port| port.parse().ok()),
            other => panic!("{other}? [one|three|secured] [--port N] [--full] [--stay]"),
        }
    }
    let Some(kafka) = Kafka::start_with(&options) else {
        return;
    };
    println!("PLAINTEXT {}", kafka.bootstrap());
    if options.secured {
        let ports = kafka.secured_ports();
        for (name, port) in [
            ("SSL", ports.ssl),
            ("SSL, client certificate required", ports.mutual),
            ("SASL_PLAINTEXT", ports.sasl_plaintext),
            ("SASL_SSL", ports.sasl_ssl),
        ] {
            println!("{name} localhost:{port}");
        }
        for name in [
            "ca.pem",
            "other-ca.pem",
            "client.pem",
            "client.key",
            "stranger.pem",
            "stranger.key",
        ] {
            println!("{name} {}", kafka.certificate(name).display());
        }
        println!("users: {:?}", support::properties::USERS);
    }
    if stay {
        loop {
            std::thread::park();
        }
    }
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

fn create_topic(args: &[String]) {
    let [port, name, rest @ ..] = args else {
        panic!("topic PORT NAME [PARTITIONS [CONFIG=VALUE…]]")
    };
    let port = port.parse().expect("a port");
    let partitions = rest
        .first()
        .map_or(1, |count| count.parse().expect("a number of partitions"));
    let configs: Vec<_> = rest
        .iter()
        .skip(1)
        .filter_map(|config| config.split_once('='))
        .collect();
    support::wire::create_topic(port, name, partitions, -1, &configs);
}
