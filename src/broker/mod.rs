//! The brokers: the only place that names `rskafka` and `kafka-protocol`.
//!
//! - [`settings`]: how they are reached;
//! - [`cluster`]: connections, metadata, retries; [`connection`]: one of them;
//! - [`error`]: every error, and what can be retried.

pub mod backoff;
pub mod cluster;
pub mod connection;
pub mod error;
pub mod metadata;
pub mod offsets;
mod peer;
pub(crate) mod produce;
mod request;
pub mod resolve;
mod sasl;
mod scram;
pub mod settings;
mod stream;
mod tls;
mod token;

pub use cluster::{Cluster, Lane, Node};
pub use error::Error;
pub(crate) use produce::max_message_bytes;
