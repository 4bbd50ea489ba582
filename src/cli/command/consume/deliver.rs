//! `consume --group` with a handler: each event goes to it, and is finished when it says so.

use std::sync::Arc;

use anyhow::Context;

use super::group;
use super::telling::{self, number};
use crate::app::{Deliverer, Delivering, Ending, Letters, Limits};
use crate::broker::cluster::Cluster;
use crate::broker::fetch::FetchLimits;
use crate::cli::Exit;
use crate::cli::output::{Output, plural};
use crate::cli::settings::{HandleSettings, HandlerKind, JoinSettings, PrintSettings};
use crate::fetch::fetcher::Fetcher;
use crate::group::driver::{self, Topics};
use crate::handler::{Handler, command, http, worker};
use crate::produce::producer::{Producer, ProducerSettings};
use crate::record::Compression;
use crate::shutdown::Interrupts;

/// Bytes of one partition in an answer: more would mostly wait.
const OF_PARTITION: i32 = 512 << 10;
/// How long a dead letter may take to be acknowledged, and the brokers to have it on all replicas.
const LETTER: std::time::Duration = std::time::Duration::from_secs(30);

/// Runs it.
pub(super) async fn run(
    cluster: Cluster,
    join: JoinSettings,
    handling: HandleSettings,
    printing: PrintSettings,
    output: &Output,
) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::new()?;
    let name: Arc<str> = Arc::from(join.group.as_str());
    let handler = match &handling.handler {
        HandlerKind::Http(settings) => Handler::Http(http::Http::new((**settings).clone())?),
        HandlerKind::Worker(settings) => Handler::Worker(worker::Pool::start(settings.clone())),
        HandlerKind::Command(settings) => Handler::Command(command::Commands::new(settings.clone())),
    };
    let limits = Limits {
        drain: join.drain,
        until_end: printing.exit_at_end,
        read_committed: printing.read_committed(),
    };
    let settings = Delivering {
        group: Arc::clone(&name),
        delivery: handling.delivery.clone(),
        drain: join.drain,
        read_committed: limits.read_committed,
        max_rate: handling.max_rate,
        max_event: handling.max_event,
        dedup_id: handling.dedup_id.clone(),
    };
    let sources = match &join.topics {
        Topics::Named(names) => names.clone(),
        Topics::Like(_) => Vec::new(),
    };
    let producer = Producer::start(
        cluster.clone(),
        ProducerSettings {
            delivery_timeout: LETTER,
            request_timeout: LETTER,
            compression: Compression::default(),
        },
    );
    let begin = async {
        let (group, families, create) = (Arc::clone(&name), handling.families, handling.create);
        let letters = Letters::open((cluster.clone(), producer), group, families, create, &sources)
            .await
            .context("the topics of dead letters are not ready")?;
        letters.warnings().for_each(|warning| output.warn(warning));
        handler.ready().await;
        let mut settings = group::settings(join, limits);
        settings.tell_reports = handling.delivery.commit_each;
        let member = driver::start(cluster.clone(), settings).await?;
        anyhow::Ok((letters, member))
    };
    let (letters, member) = tokio::select! {
        begun = begin => begun?,
        () = interrupts.next() => return Ok(Exit::Interrupted),
    };
    let fetch = FetchLimits {
        max_partition_bytes: printing.fetch.max_partition_bytes.min(OF_PARTITION),
        ..printing.fetch
    };
    let fetcher = Fetcher::open(cluster.clone(), fetch, limits.read_committed);
    let deliverer = Deliverer::new((cluster, settings), member, fetcher, handler, letters);
    let ending = deliverer
        .run(&mut interrupts, |notice| telling::tell(output, &name, notice))
        .await?;
    match ending {
        Ending::Left {
            unread: 0,
            cut_off: 0,
        } => Ok(Exit::Done),
        Ending::Left { unread: 0, cut_off } => anyhow::bail!(
            "{} not done within --drain-timeout: the next owner delivers again what was cut off",
            plural(number(cut_off), "event")
        ),
        Ending::Left { unread, .. } => {
            anyhow::bail!("{} could not be read", plural(number(unread), "partition"))
        }
        Ending::GaveUp { held } => anyhow::bail!(
            "{} of group {name} not handed over within --drain-timeout: others take over when the session is over",
            plural(number(held), "partition")
        ),
        Ending::Interrupted => Ok(Exit::Interrupted),
    }
}
