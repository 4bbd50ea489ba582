//! Starts real Kafka for work by hand: `cargo run --example kafka-up -- [one|three|secured] [--port N] [--full] [--stay]`.
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
    let mut args = std::env::args().skip(1);
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
