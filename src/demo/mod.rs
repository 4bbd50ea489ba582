//! `barnabas demo`: a sandbox, a publisher, consumers in processes of their own and a handler; a play of what can go wrong;
//! and an account of what became of every event.
//!
//! - [`orders`]: what is published; [`script`]: what is done when, and what has to be seen before it goes on;
//! - [`book`]: what was published and handled, written down; [`account`]: whether it adds up;
//! - [`view`]: what is shown;
//! - [`handler`], [`consumers`], [`publish`], [`watch`]: the sockets and processes;
//! - [`stage`]: all of it at work.
//!
//! All but the last line are pure, or thin. Nothing here tells the consumers what to do but what a user could: they are started,
//! killed and asked to end, and what is known of them is what the group's log, the handler and their talk tell.

pub mod account;
pub mod book;
pub mod consumers;
pub mod handler;
pub mod orders;
pub mod publish;
pub mod script;
pub mod stage;
mod tally;
pub mod view;
pub mod watch;

/// The topic of the orders.
pub const TOPIC: &str = "orders";
/// The consumers' group.
pub const GROUP: &str = "demo";
/// Partitions of the topic: two for each of three consumers.
pub const PARTITIONS: u32 = 6;
