//! A broker for development and tests: one node, on the real Kafka protocol, in memory or in a folder. Not for production:
//! there is one replica, nobody is kept out, and what a crash of the machine loses is lost.
//!
//! `cluster` is its pure core: requests, time and control lines go in, `call::Action`s come out. One task owns it, in
//! `listener`, with a task for each connection around it. In the order of a request: `wire` reads it, `api` has a file
//! for each Kafka API, which works on a partition's `log`, a `group` or `transactions`; `faults` may come between;
//! `keep` says what a `folder` must be told.
//!
//! It imports `record` and nothing else of this crate (and `clock`, in the listener), so that client and sandbox share no
//! logic. It does not name `kafka-protocol` either: see `wire`.

mod api;
mod call;
mod cluster;
mod code;
mod config;
mod control;
mod faults;
mod folder;
mod group;
mod keep;
mod listener;
mod log;
mod topics;
mod transactions;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use control::Control;
pub use faults::{Fault, Kind};
pub use folder::FolderError;
pub use listener::{Running, SandboxError, start};

/// What `--max-memory` is if nobody says: bytes of records.
pub const DEFAULT_MEMORY: usize = 512 << 20;

/// A topic to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; the sandbox's default if `None`.
    pub partitions: Option<i32>,
    /// By Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// How the sandbox is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host and port that clients are told; `None` for the address that each of them came by.
    pub advertised: Option<(String, u16)>,
    /// Topics to create, if they are not there.
    pub topics: Vec<NewTopic>,
    /// Configurations of topics that have none of their own, by Kafka's names for topics.
    pub configs: BTreeMap<String, String>,
    /// A folder in which everything is kept.
    pub data: Option<PathBuf>,
    /// Bytes of records, beyond which the oldest segments go.
    pub max_memory: usize,
    /// Partitions of a topic that nobody says the number of.
    pub partitions: i32,
    /// Topics come to be when a client asks for them.
    pub auto_create: bool,
    /// Equal seeds give equal ids and faults.
    pub seed: u64,
}

impl Default for Options {
    /// In memory, on a free port of the loopback.
    fn default() -> Self {
        Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertised: None,
            topics: Vec::new(),
            configs: BTreeMap::new(),
            data: None,
            max_memory: DEFAULT_MEMORY,
            partitions: 1,
            auto_create: true,
            seed: 0,
        }
    }
}
