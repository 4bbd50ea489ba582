//! `dlq`.

use super::produce::check_topic;
use super::{Settings, Usage, choice, offsets, values};
use crate::cli::args::DlqCommand;
use crate::dead_letter::envelope::Reason;
use crate::dead_letter::filter::Filter;

/// What `dlq` shall do.
#[derive(Debug, Clone)]
pub struct DlqSettings {
    /// Which of its commands.
    pub action: DlqAction,
    /// `--json`
    pub json: bool,
    /// Who does it: `user@host`.
    pub operator: String,
}

/// One of the commands of `dlq`. A name is that of a topic or of a group.
#[derive(Debug, Clone)]
pub enum DlqAction {
    /// `dlq list`
    List {
        /// Names; all there are if empty.
        dlqs: Vec<String>,
        /// Letters that were dealt with as well.
        all: bool,
        /// Which letters.
        filter: Filter,
    },
    /// `dlq show`
    Show {
        /// The name.
        dlq: String,
        /// Never empty.
        ids: Vec<String>,
    },
    /// `dlq stats`
    Stats {
        /// Names; all there are if empty.
        dlqs: Vec<String>,
        /// Which letters.
        filter: Filter,
    },
    /// `dlq replay`
    Replay {
        /// Which letters.
        letters: ChosenLetters,
        /// To the topics that they came from.
        to_source: bool,
        /// Letters a second at most.
        rate: Option<u32>,
    },
    /// `dlq discard`
    Discard(ChosenLetters),
    /// `dlq purge`
    Purge {
        /// The name.
        dlq: String,
        /// Do not ask.
        yes: bool,
        /// Only say what would be done.
        dry_run: bool,
    },
}

/// Letters to be dealt with, and how.
#[derive(Debug, Clone)]
pub struct ChosenLetters {
    /// The name.
    pub dlq: String,
    /// Only these; all if empty.
    pub ids: Vec<String>,
    /// Only of these.
    pub filter: Filter,
    /// Reason; may be empty.
    pub why: String,
    /// Do not ask.
    pub yes: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl Settings {
    /// What `dlq` shall do; `now_millis` is the time that `-1h` counts back from.
    ///
    /// # Errors
    /// If a value is missing or not what it should be.
    pub(crate) fn dlq(&self, command: &DlqCommand, now_millis: i64) -> Result<DlqSettings, Usage> {
        let action = match command {
            DlqCommand::List(_) => DlqAction::List {
                dlqs: self.dlq_names()?,
                all: self.switch("all")?,
                filter: self.letter_filter(now_millis)?,
            },
            DlqCommand::Show(_) => DlqAction::Show {
                dlq: self.dlq_name()?,
                ids: self.list("letters"),
            },
            DlqCommand::Stats(_) => DlqAction::Stats {
                dlqs: self.dlq_names()?,
                filter: self.letter_filter(now_millis)?,
            },
            DlqCommand::Replay(_) => DlqAction::Replay {
                letters: self.chosen_letters(now_millis)?,
                to_source: self.switch("to-source")?,
                rate: self.maybe("rate", |text| values::number(text, 1, u32::MAX))?,
            },
            DlqCommand::Discard(_) => DlqAction::Discard(self.chosen_letters(now_millis)?),
            DlqCommand::Purge(_) => DlqAction::Purge {
                dlq: self.dlq_name()?,
                yes: self.switch("yes")?,
                dry_run: self.switch("dry-run")?,
            },
        };
        Ok(DlqSettings {
            action,
            json: self.switch("json")?,
            operator: self.operator(),
        })
    }

    fn dlq_names(&self) -> Result<Vec<String>, Usage> {
        let mut names: Vec<String> = Vec::new();
        for name in self.list("dlqs") {
            // A group's name is legal as a topic's.
            check_topic(&name).map_err(|why| self.wrong("dlqs", &format!("\"{name}\" {why}")))?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn dlq_name(&self) -> Result<String, Usage> {
        let found = self.dlq_names()?.pop();
        found.ok_or_else(|| Usage("no topic of dead letters: name one".to_owned()))
    }

    fn chosen_letters(&self, now_millis: i64) -> Result<ChosenLetters, Usage> {
        Ok(ChosenLetters {
            dlq: self.dlq_name()?,
            ids: self.list("letters"),
            filter: self.letter_filter(now_millis)?,
            why: self.why()?,
            yes: self.switch("yes")?,
            dry_run: self.switch("dry-run")?,
        })
    }

    fn letter_filter(&self, now_millis: i64) -> Result<Filter, Usage> {
        let since = |text: &str| {
            let time = text.strip_prefix('@').unwrap_or(text);
            offsets::time(time, now_millis)
                .ok_or_else(|| "is no time: 2026-01-31T12:00:00Z, -1h or @MILLISECONDS".to_owned())
        };
        let outcome = |text: &str| {
            let choices: Vec<(&str, &str)> = Reason::ALL
                .iter()
                .map(|reason| (reason.name(), reason.name()))
                .collect();
            choice(text, &choices).map(str::to_owned)
        };
        Ok(Filter {
            error: self.text("error"),
            since: self.maybe("since", since)?,
            key: self.text("key"),
            kind: self.text("type"),
            outcome: self.maybe("outcome", outcome)?,
        })
    }
}
