//! `consume`.

use anyhow::bail;

use crate::broker::settings::BrokerSettings;
use crate::cli::Exit;
use crate::cli::output::Output;
use crate::cli::settings::ConsumeSettings;

/// Runs it.
pub(crate) async fn run(
    _brokers: BrokerSettings,
    _consume: ConsumeSettings,
    _output: &Output,
) -> anyhow::Result<Exit> {
    bail!("consume: not built yet")
}
