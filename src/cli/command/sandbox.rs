//! `sandbox`.

use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::broker::settings::HostPort;
use crate::cli::Exit;
use crate::cli::output::Output;
use crate::cli::settings::SandboxSettings;
use crate::sandbox::{self, Control, Options};
use crate::shutdown::Interrupts;

/// How long a sandbox may take to answer a control line.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// Runs a sandbox, or tells something to one that runs.
pub(crate) async fn run(settings: SandboxSettings, output: &Output) -> anyhow::Result<Exit> {
    match settings {
        SandboxSettings::Run(options) => serve(options, output).await,
        SandboxSettings::Tell { address, control } => tell(&address, &control, output).await,
    }
}

async fn serve(options: Options, output: &Output) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::new()?;
    let place = match &options.data {
        Some(path) => format!("kept in {}", path.display()),
        None => "in memory".to_owned(),
    };
    let mut running = sandbox::start(options).await?;
    for warning in &running.warnings {
        output.warn(warning);
    }
    output.ready(&format!(
        "sandbox on {}, {place}; a broker for development and tests, not for production",
        running.address()
    ));
    tokio::select! {
        () = interrupts.next() => Ok(Exit::Done),
        ended = running.ended() => ended.map(|()| Exit::Failed).map_err(Into::into),
    }
}

async fn tell(address: &HostPort, control: &Control, output: &Output) -> anyhow::Result<Exit> {
    let what = || {
        format!(
            "no sandbox answers at {address}; start one with `barnabas sandbox`, or say where it is with --brokers"
        )
    };
    let answer = tokio::time::timeout(PATIENCE, ask(address, control))
        .await
        .with_context(what)?
        .with_context(what)?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)
        .with_context(|| format!("{address} is no sandbox: it does not know control lines"))?;
    if let Some(why) = answer.get("error").and_then(|why| why.as_str()) {
        anyhow::bail!("the sandbox at {address} refuses: {why}");
    }
    match answer.get("faults") {
        Some(faults) => output.json(faults)?,
        None => output.note("done"),
    }
    Ok(Exit::Done)
}

async fn ask(address: &HostPort, control: &Control) -> anyhow::Result<Vec<u8>> {
    let addresses = crate::broker::resolve::resolve(&address.host, address.port).await?;
    let mut stream = TcpStream::connect(&addresses[..]).await?;
    let mut line = serde_json::to_vec(control)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}
