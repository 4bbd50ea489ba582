//! A file per command.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod consume;
pub(crate) mod demo;
pub(crate) mod dlq;
pub(crate) mod groups;
pub(crate) mod help;
pub(crate) mod produce;
pub(crate) mod sandbox;
pub(crate) mod topics;
