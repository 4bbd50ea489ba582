//! Talk on standard error: notes, warnings, the one error at the end, logs.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Writes to standard error in one piece. There is nowhere to tell that this failed.
pub(super) fn write_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

pub(super) fn say(kind: &str, text: &str) {
    write_stderr(&format!("barnabas: {kind}{text}\n"));
}

pub(super) fn ready(text: &str) {
    write_stderr(&format!("ready: {text}\n"));
}

pub(super) fn confirm(question: &str) -> bool {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return false;
    }
    write_stderr(&format!("{question} [y/N] "));
    let mut answer = String::new();
    // A line from a person at a terminal: no limit is needed.
    let read = io::stdin().lock().read_line(&mut answer).is_ok();
    read && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Prints why the process fails: each cause once, the outermost first.
pub(crate) fn error(error: &anyhow::Error) {
    say("", &chain(error.chain().map(ToString::to_string)));
}

/// Joins the causes. One that the text before ends with already is left out: not every library keeps its sources apart.
fn chain(causes: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for cause in causes {
        let cause = cause.trim_end_matches(['.', '\n']);
        if text.is_empty() {
            text.push_str(cause);
        } else if !cause.is_empty() && !text.contains(cause) {
            text.push_str(": ");
            text.push_str(cause);
        }
    }
    text
}

/// Prints what clap has to say, and says whether that was asked for (`--help`) and no error.
pub(crate) fn clap_error(error: &clap::Error) -> bool {
    // Help into a closed pipe is no failure.
    let _ = error.print();
    !error.use_stderr()
}

/// Sends logs to standard error: warnings; with one -v what is done; with two everything, the libraries' logs as well.
pub(crate) fn start_logging(verbosity: u8) {
    let (ours, theirs) = match verbosity {
        0 => (LevelFilter::WARN, LevelFilter::OFF),
        1 => (LevelFilter::INFO, LevelFilter::OFF),
        _ => (LevelFilter::DEBUG, LevelFilter::DEBUG),
    };
    let filter = Targets::new().with_default(theirs).with_target("barnabas", ours);
    let layer = tracing_subscriber::fmt::layer()
        .event_format(Terse { times: verbosity > 0 })
        .with_writer(io::stderr)
        // It would panic where standard error is closed.
        .log_internal_errors(false);
    // It can only fail if it was called before.
    let _ = tracing_subscriber::registry().with(layer).with(filter).try_init();
}

/// `barnabas: warning: text (field value, field value)`, with the time in front if asked for.
struct Terse {
    times: bool,
}

impl<S, N> FormatEvent<S, N> for Terse
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if self.times {
            write!(writer, "{} ", super::rfc3339(crate::clock::unix_millis()))?;
        }
        let metadata = event.metadata();
        let source = if metadata.target().starts_with("barnabas") {
            "barnabas"
        } else {
            metadata.target()
        };
        let kind = match *metadata.level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "",
        };
        let rest = if fields.rest.is_empty() {
            String::new()
        } else {
            format!(" ({})", fields.rest)
        };
        writeln!(writer, "{source}: {kind}{}{rest}", fields.message)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
            return;
        }
        if !self.rest.is_empty() {
            self.rest.push_str(", ");
        }
        self.rest.push_str(&format!("{} {value}", field.name()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let causes = std::iter::successors(Some(value), |error| error.source()).map(ToString::to_string);
        self.add(field, &chain(causes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once() {
        let told = |causes: &[&str]| chain(causes.iter().map(|cause| (*cause).to_owned()));
        assert_eq!(told(&["a", "b", "c"]), "a: b: c");
        assert_eq!(
            told(&["cannot connect: refused", "refused"]),
            "cannot connect: refused"
        );
        assert_eq!(told(&["a.", "", "b\n"]), "a: b");
    }
}
