//! The records that hold a partition back.

use serde::Serialize;
use serde_json::Value;

use super::explain::{Why, seconds, span};
use crate::cli::command::dlq::view::shown;
use crate::cli::output::{Table, rfc3339};
use crate::group::record::{Last, Waiting};
use crate::progress::Held;

/// Characters of a key in a table.
const MAX_KEY: usize = 32;
/// Characters of an answer in a table.
const MAX_ANSWER: usize = 120;

/// A record that waits after a failure.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Line {
    pub(super) offset: i64,
    /// Text, or an object with `base64`; null for none, or if it is not known.
    pub(super) key: Value,
    /// The record's own timestamp.
    pub(super) time: Option<String>,
    pub(super) age_s: Option<f64>,
    /// Whether the topic has it: `yes`, `compacted`, `deleted`; `unknown` if it was not looked up.
    pub(super) found: &'static str,
    tries: u32,
    counted: u32,
    first_failed: Option<String>,
    failing_s: Option<f64>,
    next_try: Option<String>,
    next_try_s: Option<f64>,
    outcome: Option<String>,
    status: Option<String>,
    excerpt: Option<String>,
    dead_letter: Option<DeadLetter>,
}

/// It is to become one.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct DeadLetter {
    reason: Option<String>,
    error: Option<String>,
}

/// A record as the group's state has it, and as its owner noted.
pub(super) fn line(offset: i64, held: Option<&Held>, noted: Option<&Waiting>, now: i64) -> Line {
    let last = noted.and_then(|noted| noted.last.as_ref());
    let dead = noted.filter(|noted| noted.dead.is_some() || noted.unwritten.is_some());
    let due = held
        .map(|held| held.due)
        .filter(|due| *due > now && dead.is_none());
    let text = |text: &str| shown(text.as_bytes(), usize::MAX);
    Line {
        offset,
        key: Value::Null,
        time: None,
        age_s: None,
        found: "unknown",
        tries: held.map_or(0, |held| held.tries),
        counted: held.map_or(0, |held| held.counted),
        first_failed: held.map(|held| rfc3339(held.first_failed)),
        failing_s: held.map(|held| seconds(now.saturating_sub(held.first_failed))),
        next_try: due.map(rfc3339),
        next_try_s: due.map(|due| seconds(due.saturating_sub(now))),
        outcome: last.map(|last| text(&last.outcome)),
        status: last.and_then(|last| last.status.as_deref().map(text)),
        excerpt: last.map(|last| text(&last.excerpt)),
        dead_letter: dead.map(|noted| DeadLetter {
            reason: noted.dead.as_deref().map(text),
            error: noted.unwritten.as_deref().map(text),
        }),
    }
}

/// For people.
pub(super) fn table(partitions: &[Why]) -> Table {
    let mut table = Table::new([
        "TOPIC",
        "PARTITION",
        "OFFSET",
        "KEY",
        "AGE",
        "FAILING FOR",
        "TRIES",
        "COUNTED",
        "NEXT TRY",
        "LAST ANSWER",
    ]);
    let for_s = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), span);
    for why in partitions {
        for line in &why.records {
            table.row([
                why.topic.clone(),
                why.partition.to_string(),
                line.offset.to_string(),
                line.shown_key(),
                for_s(line.age_s),
                for_s(line.failing_s),
                line.tries.to_string(),
                line.counted.to_string(),
                line.next_try_s
                    .map_or_else(|| "-".to_owned(), |seconds| format!("in {}", span(seconds))),
                line.answer(),
            ]);
        }
    }
    table
}

impl Line {
    fn shown_key(&self) -> String {
        match (self.found, &self.key) {
            ("yes", Value::String(key)) => shown(key.as_bytes(), MAX_KEY),
            ("yes", Value::Null) => "-".to_owned(),
            ("yes", key) => shown(key.to_string().as_bytes(), MAX_KEY),
            ("unknown", _) => "?".to_owned(),
            (gone, _) => format!("({gone})"),
        }
    }

    fn answer(&self) -> String {
        let last = self.outcome.as_ref().map(|outcome| {
            let last = Last {
                outcome: outcome.clone(),
                status: self.status.clone(),
                excerpt: self.excerpt.clone().unwrap_or_default(),
            };
            answer(&last)
        });
        let dead = self.dead_letter.as_ref().map(|dead| {
            let reason = dead.reason.as_ref().map(|reason| format!(" ({reason})"));
            let reason = reason.unwrap_or_default();
            match &dead.error {
                Some(error) => format!("its dead letter{reason} cannot be written: {error}"),
                None => format!("it is to become a dead letter{reason}"),
            }
        });
        let parts: Vec<String> = dead.into_iter().chain(last).collect();
        if parts.is_empty() {
            return "-".to_owned();
        }
        shown(parts.join("; ").as_bytes(), MAX_ANSWER)
    }
}

/// An answer on a line: `503: the database is down`.
pub(super) fn answer(last: &Last) -> String {
    let what = last.status.as_deref().unwrap_or(&last.outcome);
    let text = match (what, last.excerpt.as_str()) {
        (what, "") => what.to_owned(),
        // As HTTP's do.
        (what, excerpt) if excerpt.starts_with(what) => excerpt.to_owned(),
        (what, excerpt) => format!("{what}: {excerpt}"),
    };
    shown(text.as_bytes(), MAX_ANSWER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn held() -> Held {
        Held {
            tries: 7,
            counted: 3,
            first_failed: NOW - 90_000,
            due: NOW + 12_000,
        }
    }

    fn noted(dead: Option<&str>, unwritten: Option<&str>) -> Waiting {
        Waiting {
            offset: 5,
            last: Some(Last {
                outcome: "retry".to_owned(),
                status: Some("503".to_owned()),
                excerpt: "no\u{1b}[2J database".to_owned(),
            }),
            dead: dead.map(str::to_owned),
            unwritten: unwritten.map(str::to_owned),
        }
    }

    #[test]
    fn attempts_are_the_groups_and_the_answer_is_the_owners() {
        let line = line(5, Some(&held()), Some(&noted(None, None)), NOW);
        assert_eq!((line.tries, line.counted), (7, 3));
        assert_eq!((line.failing_s, line.next_try_s), (Some(90.0), Some(12.0)));
        assert_eq!(line.status.as_deref(), Some("503"));
        assert_eq!(
            line.answer(),
            "503: no\\u{1b}[2J database",
            "a terminal is not told what to do"
        );
    }

    #[test]
    fn a_status_is_not_told_twice() {
        let answer = |outcome: &str, status: Option<&str>, excerpt: &str| {
            answer(&Last {
                outcome: outcome.to_owned(),
                status: status.map(str::to_owned),
                excerpt: excerpt.to_owned(),
            })
        };
        assert_eq!(
            answer("retry", Some("503"), "503 Service Unavailable: down"),
            "503 Service Unavailable: down"
        );
        assert_eq!(answer("retry", Some("exit 1"), "no disk"), "exit 1: no disk");
        assert_eq!(
            answer("hold", None, "connection refused"),
            "hold: connection refused"
        );
        assert_eq!(answer("reject", Some("422"), ""), "422");
    }

    #[test]
    fn an_answer_that_was_not_noted_yet_is_missing_and_no_more() {
        let line = line(5, Some(&held()), None, NOW);
        assert_eq!((line.outcome.as_deref(), line.answer().as_str()), (None, "-"));
        assert_eq!(line.tries, 7);
    }

    #[test]
    fn a_dead_letter_that_cannot_be_written_is_told_before_the_answer() {
        let unwritten = line(
            5,
            Some(&held()),
            Some(&noted(Some("exhausted"), Some("no topic"))),
            NOW,
        );
        assert!(
            unwritten
                .answer()
                .starts_with("its dead letter (exhausted) cannot be written: no topic; 503"),
            "{}",
            unwritten.answer()
        );
        assert_eq!(unwritten.next_try_s, None);
        let waits = line(5, None, Some(&noted(Some("rejected"), None)), NOW);
        assert!(
            waits
                .answer()
                .starts_with("it is to become a dead letter (rejected)")
        );
    }

    #[test]
    fn a_record_that_is_gone_says_so_in_place_of_its_key() {
        let mut line = line(5, None, None, NOW);
        assert_eq!(line.shown_key(), "?");
        line.found = "compacted";
        assert_eq!(line.shown_key(), "(compacted)");
        line.found = "yes";
        assert_eq!(line.shown_key(), "-");
        line.key = Value::from("order-1");
        assert_eq!(line.shown_key(), "order-1");
    }
}
