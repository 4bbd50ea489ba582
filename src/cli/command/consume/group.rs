//! `consume --group`: prints what falls to this member, and commits what was written.

mod printing;

use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot};

use self::printing::Printing;
use super::telling::{self, number};
use crate::app::{Ending, Joined, Limits, Notice};
use crate::broker::cluster::Cluster;
use crate::cli::Exit;
use crate::cli::output::{Output, plural};
use crate::cli::settings::{JoinSettings, PrintSettings};
use crate::fetch::fetcher::Fetcher;
use crate::group::driver::{self, GroupSettings};
use crate::shutdown::Interrupts;

/// Pieces of work that wait for the printing thread, beside the one it works on.
const WORK: usize = 2;
/// What the printing thread has told and nobody has heard yet.
const TOLD: usize = 256;

/// How long partitions are held back for a member with an instance name that went away.
const GRACE: Duration = Duration::from_secs(30);

/// Runs it.
pub(super) async fn run(
    cluster: Cluster,
    join: JoinSettings,
    printing: PrintSettings,
    output: &Output,
) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::new()?;
    let data = output.data().context("cannot write to standard output")?;
    let limits = Limits {
        drain: join.drain,
        until_end: printing.exit_at_end,
        read_committed: printing.read_committed(),
    };
    let name = join.group.clone();
    let member = tokio::select! {
        member = driver::start(cluster.clone(), settings(join, limits)) => member?,
        () = interrupts.next() => return Ok(Exit::Interrupted),
    };
    let fetcher = Fetcher::open(cluster.clone(), printing.fetch, limits.read_committed);
    let (work, to_print) = mpsc::channel(WORK);
    let (tell, told) = mpsc::channel(TOLD);
    let printing = Printing::new(printing, data, *output, tell);
    let (finish, mut finished) = oneshot::channel();
    std::thread::Builder::new()
        .name("printer".to_owned())
        // The receiver is gone only when nobody waits for it any more.
        .spawn(move || drop(finish.send(printing.run(to_print).map_err(super::at_output))))
        .context("cannot start a thread for printing")?;
    let joined = Joined::new((cluster, limits), member, fetcher, (work, told));
    let mut gone = false;
    let ending = joined
        .run(&mut interrupts, |notice| {
            gone |= matches!(notice, Notice::Gone { .. });
            telling::tell(output, &name, notice);
        })
        .await;
    // It has ended, or is in the middle of a write that nobody reads: that is not waited for.
    let printed = match &ending {
        Ok(Ending::Left { .. }) => Some(finished.await.context("printing has ended early")?),
        _ => finished.try_recv().ok(),
    };
    let exit = printed.transpose()?.unwrap_or(Exit::Done);
    match ending? {
        Ending::Left { unread: 0, .. } if gone && exit == Exit::Done => Ok(Exit::Refused),
        Ending::Left { unread: 0, .. } => Ok(exit),
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

/// For the driver.
pub(super) fn settings(join: JoinSettings, limits: Limits) -> GroupSettings {
    GroupSettings {
        group: join.group,
        topics: join.topics,
        from: join.from,
        // As long as a restart may take; a member without a name is not waited for.
        grace: GRACE,
        instance: join.instance,
        host: driver::this_host(),
        session: join.session,
        report: join.commit_interval,
        drain: limits.drain,
        read_committed: limits.read_committed,
        rebuild: join.rebuild,
        tell_reports: false,
    }
}
