//! Seeds × faults × invariants. Each failure names its seed.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may panic, and a fake broker has a clock"
)]

mod broker;
mod producer;
