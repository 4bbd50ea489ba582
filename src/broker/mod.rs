//! The brokers: the only place that names `rskafka` and `kafka-protocol`.

pub mod resolve;
pub mod settings;
