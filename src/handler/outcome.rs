//! What an HTTP answer means: the table of `docs/delivery.md`, with the user's changes (`--on 404=reject,409=done`).

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::{Outcome, Sign, retry_after};

/// What follows from a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The event is finished.
    Done,
    /// Finished: the handler has no use for it.
    Skip,
    /// Again after a back-off.
    Retry,
    /// The target is wrong, not the event.
    Hold,
    /// To the dead letters at once.
    Reject,
}

/// Whose answers the bodies are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Ours: the body means nothing.
    #[default]
    Plain,
    /// Dapr's: a body `{"status": "SUCCESS" | "RETRY" | "DROP"}` beside 2xx, and 404 drops.
    Dapr,
}

/// The table.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    changes: Vec<(RangeInclusive<u16>, Rule)>,
    /// Whose answers the bodies are.
    pub dialect: Dialect,
}

/// A change of the table that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no change of outcomes: write STATUS=done|skip|retry|hold|reject, as in 404=reject,5xx=hold"
)]
pub struct RulesError(String);

/// What an HTTP answer says beside its status.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The status.
    pub status: u16,
    /// `barnabas-outcome`
    pub outcome: Option<&'a [u8]>,
    /// `Retry-After`
    pub retry_after: Option<&'a [u8]>,
    /// `Date`
    pub date: Option<&'a [u8]>,
    /// As much of the body as was read.
    pub body: &'a [u8],
}

impl Rules {
    /// Of `--on`: changes with commas between them; a later one wins.
    ///
    /// # Errors
    /// Shows the part that cannot be read.
    pub fn parse(changes: &str, dialect: Dialect) -> Result<Self, RulesError> {
        let parts = changes.split(',').map(str::trim).filter(|part| !part.is_empty());
        let changes = parts.map(|part| change(part).ok_or_else(|| RulesError(part.to_owned())));
        Ok(Self {
            changes: changes.collect::<Result<_, _>>()?,
            dialect,
        })
    }

    fn rule(&self, status: u16) -> Rule {
        let changed = self
            .changes
            .iter()
            .rev()
            .find(|(range, _)| range.contains(&status));
        match (changed, status) {
            (Some((_, rule)), _) => *rule,
            (None, 404) if self.dialect == Dialect::Dapr => Rule::Reject,
            (None, _) => of_status(status),
        }
    }

    /// What the answer means. `now` is in seconds since the epoch: only used if the answer has no date of its own.
    #[must_use]
    pub fn judge(&self, said: &Said<'_>, now: i64) -> Outcome {
        let wait = || retry_after::parse(said.retry_after?, said.date, now);
        let rule = match self.rule(said.status) {
            // Only who has taken the event over can say more than that.
            Rule::Done if (200..300).contains(&said.status) => self.said(said),
            rule => rule,
        };
        match rule {
            Rule::Done => Outcome::Done,
            Rule::Skip => Outcome::Skip,
            Rule::Hold => Outcome::Hold,
            Rule::Reject => Outcome::Reject,
            Rule::Retry => match said.status {
                429 => Outcome::Retry {
                    sign: Sign::Busy,
                    after: None,
                    pause: wait(),
                },
                503 => Outcome::Retry {
                    sign: Sign::Unavailable,
                    after: None,
                    pause: wait(),
                },
                500..=599 => Outcome::Retry {
                    sign: Sign::Broken,
                    after: wait(),
                    pause: None,
                },
                _ => Outcome::Retry {
                    sign: Sign::Own,
                    after: wait(),
                    pause: None,
                },
            },
        }
    }

    /// What a 2xx says in its header or body. A word that we do not know is no consent: the event is tried again.
    fn said(&self, said: &Said<'_>) -> Rule {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            status: Option<std::borrow::Cow<'a, str>>,
        }
        if let Some(word) = said.outcome {
            return match word.trim_ascii().to_ascii_lowercase().as_slice() {
                b"done" => Rule::Done,
                b"skip" => Rule::Skip,
                b"reject" => Rule::Reject,
                _ => Rule::Retry,
            };
        }
        if self.dialect == Dialect::Plain {
            return Rule::Done;
        }
        // No body, or one that is none of Dapr's: done, as Dapr has it.
        let body = serde_json::from_slice::<Body<'_>>(said.body).ok();
        match body.and_then(|body| body.status).as_deref() {
            None | Some("" | "SUCCESS") => Rule::Done,
            Some("DROP") => Rule::Reject,
            Some(_) => Rule::Retry,
        }
    }
}

fn of_status(status: u16) -> Rule {
    match status {
        200..=299 => Rule::Done,
        401 | 403 | 405 | 407 | 410 | 421 | 426 | 501 | 505 | 511 => Rule::Hold,
        404 | 408 | 409 | 425 | 429 | 500..=599 => Rule::Retry,
        400..=499 => Rule::Reject,
        // 101, 3xx, and numbers that mean nothing: this is not the handler.
        _ => Rule::Hold,
    }
}

fn change(text: &str) -> Option<(RangeInclusive<u16>, Rule)> {
    let (status, rule) = text.split_once('=')?;
    let rule = match rule.trim() {
        "done" => Rule::Done,
        "skip" => Rule::Skip,
        "retry" => Rule::Retry,
        "hold" => Rule::Hold,
        "reject" => Rule::Reject,
        _ => return None,
    };
    let status = status.trim();
    let range = match status.strip_suffix("xx") {
        Some(hundreds) => {
            let first = hundreds.parse::<u16>().ok().filter(|n| (1..=5).contains(n))? * 100;
            first..=first + 99
        }
        None => {
            let one = status.parse().ok().filter(|n| (100..=599).contains(n))?;
            one..=one
        }
    };
    Some((range, rule))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(status: u16) -> Said<'static> {
        Said {
            status,
            outcome: None,
            retry_after: None,
            date: None,
            body: b"",
        }
    }

    fn judged(status: u16) -> Outcome {
        Rules::default().judge(&said(status), 0)
    }

    #[test]
    fn each_status_means_what_the_table_says() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judged(status), Outcome::Done, "{status}");
        }
        for status in [404, 408, 409, 425] {
            assert_eq!(judged(status), Outcome::retry(Sign::Own), "{status}");
        }
        for status in [500, 502, 504, 599] {
            assert_eq!(judged(status), Outcome::retry(Sign::Broken), "{status}");
        }
        assert_eq!(judged(429), Outcome::retry(Sign::Busy));
        assert_eq!(judged(503), Outcome::retry(Sign::Unavailable));
        for status in [
            101, 301, 302, 304, 307, 401, 403, 405, 407, 410, 421, 426, 501, 505, 511, 600, 999,
        ] {
            assert_eq!(judged(status), Outcome::Hold, "{status}");
        }
        for status in [400, 402, 406, 411, 412, 413, 415, 418, 422, 451] {
            assert_eq!(judged(status), Outcome::Reject, "{status}");
        }
    }

    #[test]
    fn a_row_can_be_changed_and_the_last_change_wins() {
        let rules = Rules::parse("404=reject, 409=done,5xx=hold,503=retry", Dialect::Plain).unwrap();
        assert_eq!(rules.judge(&said(404), 0), Outcome::Reject);
        assert_eq!(rules.judge(&said(409), 0), Outcome::Done);
        assert_eq!(rules.judge(&said(500), 0), Outcome::Hold);
        assert_eq!(rules.judge(&said(503), 0), Outcome::retry(Sign::Unavailable));
        for wrong in [
            "404", "404=", "404=drop", "6xx=done", "99=done", "=done", "4x=done",
        ] {
            assert!(Rules::parse(wrong, Dialect::Plain).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_2xx_can_say_more_in_its_header() {
        let with = |status, word: &'static [u8]| Said {
            outcome: Some(word),
            ..said(status)
        };
        let rules = Rules::default();
        assert_eq!(rules.judge(&with(200, b"skip"), 0), Outcome::Skip);
        assert_eq!(rules.judge(&with(200, b"Reject "), 0), Outcome::Reject);
        assert_eq!(rules.judge(&with(200, b"retry"), 0), Outcome::retry(Sign::Own));
        assert_eq!(rules.judge(&with(200, b"what?"), 0), Outcome::retry(Sign::Own));
        assert_eq!(rules.judge(&with(500, b"skip"), 0), Outcome::retry(Sign::Broken));
        assert_eq!(rules.judge(&with(302, b"done"), 0), Outcome::Hold);
    }

    #[test]
    fn daprs_bodies_count_in_its_dialect_only() {
        let with = |body: &'static [u8]| Said { body, ..said(200) };
        let dapr = Rules::parse("", Dialect::Dapr).unwrap();
        assert_eq!(dapr.judge(&with(br#"{"status":"DROP"}"#), 0), Outcome::Reject);
        assert_eq!(
            dapr.judge(&with(br#"{"status":"RETRY"}"#), 0),
            Outcome::retry(Sign::Own)
        );
        assert_eq!(dapr.judge(&with(br#"{"status":"SUCCESS"}"#), 0), Outcome::Done);
        assert_eq!(dapr.judge(&with(b"OK"), 0), Outcome::Done);
        assert_eq!(dapr.judge(&said(404), 0), Outcome::Reject);
        assert_eq!(
            Rules::default().judge(&with(br#"{"status":"DROP"}"#), 0),
            Outcome::Done
        );
    }

    #[test]
    fn retry_after_pauses_the_target_for_429_and_503_and_the_record_otherwise() {
        let with = |status| Said {
            retry_after: Some(b"7"),
            ..said(status)
        };
        let seven = Some(Duration::from_secs(7));
        let waits = |status| match Rules::default().judge(&with(status), 0) {
            Outcome::Retry { after, pause, .. } => (after, pause),
            other => panic!("{other:?}"),
        };
        assert_eq!(waits(429), (None, seven));
        assert_eq!(waits(503), (None, seven));
        assert_eq!(waits(500), (seven, None));
        assert_eq!(waits(409), (seven, None));
    }
}
