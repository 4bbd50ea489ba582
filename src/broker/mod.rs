//! The brokers: the only place that names `rskafka` and `kafka-protocol`.
//!
//! - [`settings`]: how they are reached;
//! - [`cluster`]: connections, metadata, retries; [`connection`]: one of them;
//! - [`offsets`], [`epochs`], [`records`], [`admin`], [`admin_configs`], [`groups`], [`commits`]: what is asked of them,
//!   without the protocol's types;
//! - [`error`]: every error, and what can be retried.

pub mod admin;
pub mod admin_configs;
pub mod backoff;
pub mod cluster;
pub mod commits;
pub mod connection;
pub mod epochs;
pub mod error;
pub mod fetch;
pub mod groups;
pub mod metadata;
pub mod offsets;
mod peer;
pub(crate) mod produce;
pub mod records;
mod request;
pub mod resolve;
mod sasl;
mod scram;
pub mod settings;
pub(crate) mod stream;
pub(crate) mod tls;
mod token;

pub use cluster::{Cluster, Lane, Node};
pub use error::Error;
pub(crate) use produce::max_message_bytes;
