//! `demo`.

use std::io::Error;

use anyhow::anyhow;
use serde::Serialize;

use super::consume::telling::{IN_ORDER, OUT_OF_ORDER, REMOVED};
use crate::cli::Exit;
use crate::cli::args::ConsumerArgs;
use crate::cli::output::{Output, Screen, Table, plural, thousands};
use crate::cli::settings::DemoSettings;
use crate::demo::GROUP;
use crate::demo::account::Account;
use crate::demo::consumers;
use crate::demo::script::seconds;
use crate::demo::stage::{self, End, Report, Tell, Words};
use crate::demo::view::{Model, Past, frame};
use crate::shutdown::Interrupts;

/// Between two lines that tell how it stands, where there is no terminal. Milliseconds.
const STATUS_EVERY: u64 = 2_000;

/// Becomes a consumer of a demo. Returns only if that fails.
pub(crate) fn consumer(args: &ConsumerArgs) -> anyhow::Result<Exit> {
    let error: Error = consumers::become_one(args.parent, &args.args);
    Err(anyhow::Error::from(error).context("this consumer of the demo cannot start"))
}

/// Plays it, and prints the account.
pub(crate) async fn run(settings: DemoSettings, output: &Output) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::new()?;
    let words = Words {
        opened: OUT_OF_ORDER,
        closed: IN_ORDER,
        removed: REMOVED,
    };
    let mut show = Show {
        screen: output.screen().filter(|_| settings.paints),
        output,
        seed: settings.options.seed,
        next_status: 0,
    };
    let told = |tell: Tell<'_>| show.tell(tell);
    let report = stage::run(settings.options, words, &mut interrupts, told).await?;
    for line in &report.talk {
        output.note(line);
    }
    let adds_up = report.end == End::Played && report.account.adds_up();
    if settings.json {
        output.json(&Json::of(&report, settings.options.seed, adds_up))?;
    } else {
        for line in lines(&report) {
            output.line(&line)?;
        }
    }
    match report.end {
        End::Interrupted => Ok(Exit::Interrupted),
        End::Failed(step, why) => Err(anyhow!("the demo failed at \"{}\": {why}", step.name())),
        End::Played if adds_up => Ok(Exit::Done),
        End::Played => Err(anyhow!(
            "the account does not add up: {}",
            report.account.faults().join("; ")
        )),
    }
}

/// Shows it as it plays: painted on a terminal, in lines elsewhere.
struct Show<'a> {
    screen: Option<Screen>,
    output: &'a Output,
    seed: u64,
    /// When the next line is due that tells how it stands.
    next_status: u64,
}

impl Show<'_> {
    fn tell(&mut self, tell: Tell<'_>) {
        match (tell, &mut self.screen) {
            (Tell::Stands(model), Some(screen)) => screen.paint(frame(model, screen.size(), screen.color())),
            (Tell::Stands(model), None) => self.status(model),
            (Tell::Listens(address), None) => self.output.note(&format!(
                "sandbox on {address}, seed {}; to look at it from another shell: barnabas groups describe {GROUP} -b {address}",
                self.seed
            )),
            (Tell::Began(step), None) => self.output.note(&format!("{}: {}", step.name(), step.about())),
            (Tell::Over(past), None) => self.output.note(&over(past)),
            // With -v, beside what is logged.
            (Tell::Said(who, line), _) => tracing::info!("{who}: {line}"),
            (Tell::Listens(_) | Tell::Began(_) | Tell::Over(_), Some(_)) => {}
        }
    }

    fn status(&mut self, model: &Model) {
        if model.now >= self.next_status {
            self.next_status = model.now + STATUS_EVERY;
            self.output.note(&model.status());
        }
    }
}

fn over(past: &Past) -> String {
    format!(
        "{}: done after {}: {}",
        past.step.name(),
        seconds(past.took),
        past.result
    )
}

/// The account for people.
fn lines(report: &Report) -> Vec<String> {
    let account = &report.account;
    let duplicates = &account.duplicates;
    let played = report.end == End::Played;
    let mut table = Table::new([]);
    let mut row = |what: &str, count: u64, about: String| {
        table.row([what.to_owned(), format!("{:>7}", thousands(count)), about]);
    };
    let held = account
        .in_topic
        .map(|held| format!("the topic holds {}", plural(held, "record")));
    row("published", account.published, held.unwrap_or_default());
    row("= processed once", account.once, String::new());
    row(
        "+ processed twice",
        account.again,
        "not yet reported when a consumer was lost".to_owned(),
    );
    let replayed = match account.replayed {
        0 => String::new(),
        some => format!("{} replayed, and processed then", thousands(some)),
    };
    row("+ dead-lettered", account.dead_lettered, replayed);
    if !played {
        row("+ unfinished", account.lost.len() as u64, String::new());
    } else {
        row("lost", account.lost.len() as u64, String::new());
    }
    row(
        "out of order",
        account.out_of_order.len() as u64,
        format!("of {} with events in order", plural(account.keys, "key")),
    );
    row(
        "duplicates",
        duplicates.sum(),
        format!(
            "{} by the kill -9, {} by slow consumers, {} unexplained",
            duplicates.killed,
            duplicates.removed,
            duplicates.unexplained.len()
        ),
    );
    row(
        "failed attempts",
        account.failed_attempts,
        "tried again".to_owned(),
    );
    let mut lines = vec![String::new()];
    lines.extend(table.render(false).lines().map(str::to_owned));
    lines.push(match (&report.end, account.adds_up()) {
        (End::Played, true) => "it adds up".to_owned(),
        (End::Played, false) => "it does not add up".to_owned(),
        (End::Interrupted, _) => "interrupted: this is how far it got".to_owned(),
        (End::Failed(..), _) => "failed: this is how far it got".to_owned(),
    });
    lines
}

#[derive(Serialize)]
struct Json<'a> {
    result: &'static str,
    adds_up: bool,
    seed: u64,
    steps: Vec<JsonStep<'a>>,
    account: &'a Account,
}

#[derive(Serialize)]
struct JsonStep<'a> {
    step: &'static str,
    seconds: f64,
    result: &'a str,
}

impl<'a> Json<'a> {
    fn of(report: &'a Report, seed: u64, adds_up: bool) -> Self {
        let steps = report.past.iter().map(|past| JsonStep {
            step: past.step.name(),
            seconds: f64::from(u32::try_from(past.took).unwrap_or(u32::MAX)) / 1_000.0,
            result: &past.result,
        });
        Self {
            result: match report.end {
                End::Played => "played",
                End::Interrupted => "interrupted",
                End::Failed(..) => "failed",
            },
            adds_up,
            seed,
            steps: steps.collect(),
            account: &report.account,
        }
    }
}
