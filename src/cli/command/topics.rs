//! `topics`.

use anyhow::bail;

use crate::broker::settings::BrokerSettings;
use crate::cli::Exit;
use crate::cli::output::Output;
use crate::cli::settings::TopicsSettings;

/// Runs it.
pub(crate) async fn run(
    _brokers: BrokerSettings,
    _topics: TopicsSettings,
    _output: &Output,
) -> anyhow::Result<Exit> {
    bail!("topics: not built yet")
}
