//! The only printer: data to standard output, talk to standard error.

mod data;
mod progress;
mod screen;
mod table;
mod talk;

use std::io::IsTerminal;

use chrono::{DateTime, SecondsFormat};

pub use data::{ClosedPipe, Data, is_closed_pipe};
pub use progress::Progress;
pub use screen::Screen;
pub use table::Table;
pub(crate) use talk::{clap_error, error, start_logging};

/// How to print, as terminal, flags and variables have it.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Colours in tables on standard output.
    color: bool,
    /// Notes and progress are left out.
    quiet: bool,
    /// A progress bar is shown on a terminal.
    progress: bool,
    /// No colours at all.
    no_color: bool,
}

impl Output {
    /// `no_color` is the variable NO_COLOR; colours and progress need a terminal as well.
    #[must_use]
    pub fn new(no_color: bool, quiet: bool, progress: bool) -> Self {
        let color = !no_color && std::io::stdout().is_terminal();
        let progress = progress && !quiet && std::io::stderr().is_terminal();
        Self {
            color,
            quiet,
            progress,
            no_color,
        }
    }

    /// Standard output, with a buffer. Flush it, or what is left in it is lost.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn data(&self) -> std::io::Result<Data> {
        Data::stdout()
    }

    /// Prints one text and a newline to standard output.
    ///
    /// # Errors
    /// [`ClosedPipe`] inside if nobody reads any more, or another error of writing.
    pub fn line(&self, text: &str) -> anyhow::Result<()> {
        let mut data = self.data()?;
        data.push(text.as_bytes())?;
        data.push(b"\n")?;
        data.flush_all()?;
        Ok(())
    }

    /// Prints a value as JSON, over several lines on a terminal, else on one.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let text = if std::io::stdout().is_terminal() {
            serde_json::to_string_pretty(value)?
        } else {
            serde_json::to_string(value)?
        };
        self.line(&text)
    }

    /// Prints a table to standard output.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn table(&self, table: &Table) -> anyhow::Result<()> {
        let text = table.render(self.color);
        if text.is_empty() { Ok(()) } else { self.line(&text) }
    }

    /// Tells something on standard error, unless `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            talk::say("", text);
        }
    }

    /// Tells on standard error, in the one line that scripts wait for, that work can begin; unless `--quiet`.
    pub fn ready(&self, text: &str) {
        if !self.quiet {
            talk::ready(text);
        }
    }

    /// Warns on standard error, `--quiet` or not: a warning is about what may go wrong.
    pub fn warn(&self, text: &str) {
        talk::say("warning: ", text);
    }

    /// Asks on the terminal and waits for the answer. Without a terminal the answer is no.
    #[must_use]
    pub fn confirm(&self, question: &str) -> bool {
        talk::confirm(question)
    }

    /// Whether somebody could answer [`Self::confirm`].
    #[must_use]
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// A progress bar for work of this many bytes, if known. On a terminal only; else it does nothing.
    #[must_use]
    pub fn progress(&self, bytes: Option<u64>) -> Progress {
        Progress::new(self.progress, bytes)
    }

    /// Standard error to be painted on again and again, if it is a terminal and nobody wants it quiet.
    #[must_use]
    pub fn screen(&self) -> Option<Screen> {
        let shown = !self.quiet && std::io::stderr().is_terminal();
        shown.then(|| Screen::new(!self.no_color))
    }

    /// Whether a progress bar would be seen, for callers that would have to find out a length for it.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        self.progress
    }
}

/// Milliseconds since the epoch as RFC 3339 in UTC: `2026-01-31T12:00:00.000Z`. Empty if beyond what a calendar has.
#[must_use]
pub fn rfc3339(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default()
}

/// A number with its thousands apart, for people: `1,234,567`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2 records`, `1,000 records`.
#[must_use]
pub fn plural(number: u64, one: &str) -> String {
    format!(
        "{} {one}{}",
        thousands(number),
        if number == 1 { "" } else { "s" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(i64::MAX), "");
    }

    #[test]
    fn numbers_for_people_have_their_thousands_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(plural(1, "record"), "1 record");
        assert_eq!(plural(0, "record"), "0 records");
    }
}
