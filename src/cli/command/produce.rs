//! `produce`.

use anyhow::bail;

use crate::broker::settings::BrokerSettings;
use crate::cli::Exit;
use crate::cli::output::Output;
use crate::cli::settings::ProduceSettings;

/// Runs it.
pub(crate) async fn run(
    _brokers: BrokerSettings,
    _produce: ProduceSettings,
    _output: &Output,
) -> anyhow::Result<Exit> {
    bail!("produce: not built yet")
}
