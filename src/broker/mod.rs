//! The brokers: the only place that names `rskafka` and `kafka-protocol`.

#[allow(dead_code, reason = "connection.rs, which lands next, uses it")]
mod peer;
pub mod resolve;
#[allow(dead_code, reason = "connection.rs, which lands next, uses it")]
mod sasl;
pub mod settings;
#[allow(dead_code, reason = "connection.rs, which lands next, uses it")]
mod stream;
#[allow(dead_code, reason = "connection.rs, which lands next, uses it")]
mod tls;
mod token;
