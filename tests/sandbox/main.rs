//! The sandbox: its answers in every version it tells of, our own commands on it, its folder, its faults, and clients that
//! are not ours. No Java is needed; what needs a program that is missing says so, and fails where `CI=true`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may panic, and do not pass through the settings"
)]

#[path = "../kafka/support/mod.rs"]
mod support;

mod commands;
mod demo;
mod faults;
mod folder;
mod groups;
mod interop;
mod log;
mod place;
mod same;
mod transactions;
mod versions;
mod wire;
