//! What this program is asked to be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::cases;
use crate::sink;
use crate::steady;
use crate::tally;

/// The harness, or one of its helpers.
pub(crate) enum Mode {
    Measure(Options),
    Sink(sink::Settings),
    Worker(tally::Settings),
    Steady(steady::Settings),
}

/// Of the harness.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    only: Vec<String>,
    /// Of cases that alternate.
    pub(crate) runs: usize,
    /// A tenth of the events: for trying the harness out.
    pub(crate) quick: bool,
    pub(crate) write: bool,
    pub(crate) barnabas: Option<PathBuf>,
}

impl Options {
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == case)
    }

    /// So many events, or fewer of them.
    pub(crate) fn events(&self, whole: u64) -> u64 {
        if self.quick { whole / 10 } else { whole }
    }

    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            only: Vec::new(),
            runs: 5,
            quick: false,
            write: false,
            barnabas: None,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} …"));
            match arg.as_str() {
                "--bench" => {} // from cargo
                "--quick" => options.quick = true,
                "--write" => options.write = true,
                "--only" => options.only.push(value()?),
                "--runs" => options.runs = value()?.parse().map_err(|_| "--runs N")?,
                "--barnabas" => options.barnabas = Some(value()?.into()),
                other => return Err(format!("{other}?")),
            }
        }
        let known = |only: &&String| cases::ALL.iter().all(|case| case.name != **only);
        if let Some(unknown) = options.only.iter().find(known) {
            let names: Vec<&str> = cases::ALL.iter().map(|case| case.name).collect();
            return Err(format!("--only {unknown}? There are {}", names.join(", ")));
        }
        if options.write && (options.quick || !options.only.is_empty()) {
            return Err("--write wants all of it: neither --only nor --quick".to_owned());
        }
        if options.write && cfg!(debug_assertions) {
            return Err(
                "--write wants a harness that is optimised, as its handler is: cargo bench".to_owned(),
            );
        }
        if options.runs == 0 {
            return Err("--runs 1, at least".to_owned());
        }
        Ok(options)
    }
}

impl Mode {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let Some(first) = args.next() else {
            return Options::parse(args).map(Self::Measure);
        };
        let mut given = BTreeMap::new();
        let mut pairs = |args: &mut dyn Iterator<Item = String>| {
            while let Some(name) = args.next() {
                let value = args.next().ok_or_else(|| format!("{name} …"))?;
                given.insert(name, value);
            }
            Ok::<_, String>(())
        };
        match first.as_str() {
            "--sink" => {
                pairs(&mut args)?;
                Ok(Self::Sink(sink::Settings {
                    tally: tally_settings(&given)?,
                    answer: match given.get("--answer").map(String::as_str) {
                        None | Some("done") => sink::Answer::Done,
                        Some("poison") => sink::Answer::Poison,
                        Some("never") => sink::Answer::Never,
                        Some(millis) => {
                            let millis = millis.parse().map_err(|_| "--answer MILLISECONDS")?;
                            sink::Answer::After(Duration::from_millis(millis))
                        }
                    },
                }))
            }
            "--worker" => {
                pairs(&mut args)?;
                tally_settings(&given).map(Self::Worker)
            }
            "--steady" => {
                pairs(&mut args)?;
                let text = |name: &str| given.get(name).cloned().ok_or(format!("{name} …"));
                Ok(Self::Steady(steady::Settings {
                    bootstrap: text("--bootstrap")?,
                    topic: text("--topic")?,
                    partitions: number(&given, "--partitions")?,
                    count: number(&given, "--count")?,
                    acks: text("--acks")?.into(),
                }))
            }
            _ => Options::parse(std::iter::once(first).chain(args)).map(Self::Measure),
        }
    }
}

fn tally_settings(given: &BTreeMap<String, String>) -> Result<tally::Settings, String> {
    Ok(tally::Settings {
        report: given.get("--report").cloned().ok_or("--report ADDRESS")?,
        ids: number(given, "--ids")?,
        expect: number(given, "--expect")?,
        arrivals: given.get("--arrivals").map(PathBuf::from),
    })
}

fn number<T: std::str::FromStr>(given: &BTreeMap<String, String>, name: &str) -> Result<T, String> {
    given
        .get(name)
        .and_then(|value| value.parse().ok())
        .ok_or(format!("{name} N"))
}
