//! Letters as lines of a table and as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use crate::broker::Cluster;
use crate::cli::output::rfc3339;
use crate::dead_letter::ledger::Standing;
use crate::dead_letter::letter::Letter;
use crate::dead_letter::read::Detail;
use crate::dead_letter::split_dead;
use crate::group::log::replay;
use crate::group::state::State;

/// Characters of an error in a table.
pub(super) const MAX_ERROR: usize = 60;
/// Characters of a key in a table.
pub(super) const MAX_KEY: usize = 24;

/// A letter as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    pub(super) dlq: &'a str,
    pub(super) id: &'a str,
    pub(super) state: &'static str,
    partition: i32,
    offset: i64,
    time: String,
    copies: usize,
    replays: u32,
    family: &'static str,
    group: Option<&'a str>,
    source: Source<'a>,
    key: Value,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    outcome: Option<&'a str>,
    deliveries: Option<u32>,
    status: Option<&'a str>,
    error: Option<&'a str>,
    exception: Option<&'a str>,
    first_failed: Option<String>,
    last_failed: Option<String>,
    size: usize,
    /// What the value is, if it is not the record's own.
    content: Option<&'a str>,
    value_sha256: Option<&'a str>,
    /// Whether the group is over with the record; null where that is not known.
    finished: Option<bool>,
}

impl Line<'_> {
    /// Takes the whole key in place of its beginning.
    pub(super) fn set_key(&mut self, key: Option<&[u8]>) {
        self.key = bytes(key);
    }
}

#[derive(Debug, Serialize)]
struct Source<'a> {
    topic: Option<&'a str>,
    partition: Option<i32>,
    offset: Option<i64>,
    /// Of a batch that cannot be decoded.
    last_offset: Option<i64>,
    time: Option<String>,
}

/// A letter of this topic as JSON.
pub(super) fn line<'a>(dlq: &'a str, letter: &Standing<'a, Detail>, state: Option<&State>) -> Line<'a> {
    let detail = letter.detail;
    let told = &detail.letter;
    let time = |millis: Option<i64>| millis.map(rfc3339).filter(|text| !text.is_empty());
    Line {
        dlq,
        id: letter.id,
        state: letter.state.name(),
        partition: letter.place.partition,
        offset: letter.place.offset,
        time: rfc3339(detail.time),
        copies: letter.copies,
        replays: letter.replays,
        family: told.family.name(),
        group: told.group.as_deref(),
        source: Source {
            topic: told.topic.as_deref(),
            partition: told.partition,
            offset: told.offset,
            last_offset: told.last_offset,
            time: time(told.timestamp),
        },
        key: bytes(detail.key.as_deref()),
        kind: detail.kind.as_deref(),
        outcome: told.outcome.as_deref(),
        deliveries: told.deliveries,
        status: told.status.as_deref(),
        error: told.message.as_deref(),
        exception: told.exception.as_deref(),
        first_failed: time(told.first_failed),
        last_failed: time(told.last_failed),
        size: detail.size,
        content: told.content.as_deref(),
        value_sha256: told.value_sha256.as_deref(),
        finished: state.and_then(|state| finished(state, told)),
    }
}

/// Bytes as JSON: text, or base64 where they are none.
pub(in crate::cli::command) fn bytes(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => Value::from(text),
        Some((bytes, Err(_))) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// Bytes for a person's terminal, in which nothing of theirs can do anything: control characters and what is no text are
/// escaped, and what is longer than `most` characters is cut.
pub(in crate::cli::command) fn shown(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::new();
    let mut left = most;
    for char in text.chars() {
        let hidden = char.is_control() || is_direction(char);
        let escaped: String = if hidden {
            char.escape_default().collect()
        } else {
            char.to_string()
        };
        let length = escaped.chars().count();
        if length > left {
            shown.pop();
            shown.push('…');
            break;
        }
        left -= length;
        shown.push_str(&escaped);
    }
    shown
}

/// Characters that turn the direction of the text behind them.
fn is_direction(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The first line of a text, for a table.
pub(super) fn first_line(text: &str, most: usize) -> String {
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    shown(line.trim().as_bytes(), most)
}

/// What a letter failed of, in a few words.
pub(super) fn why(letter: &Letter, most: usize) -> String {
    let message = letter.message.as_deref().filter(|text| !text.trim().is_empty());
    match (message, &letter.exception) {
        (Some(message), _) => first_line(message, most),
        (None, Some(exception)) => first_line(exception, most),
        (None, None) if letter.is_reference() => "(too large: a reference)".to_owned(),
        (None, None) => "-".to_owned(),
    }
}

/// A number, or a dash.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The state of the group whose dead letters a topic has; none where it cannot be read, as if it never was one of ours.
pub(super) async fn group_state(cluster: &Cluster, dlq: &str) -> Option<State> {
    let (_, group) = split_dead(dlq)?;
    match replay(cluster, group).await {
        Ok(replayed) => Some(replayed.state),
        Err(error) => {
            tracing::info!("group {group}: {error}");
            None
        }
    }
}

/// Whether a group is over with a letter's record. Not while it is tried again: an owner that had to give up left the
/// letter behind, and the next one went on.
pub(super) fn finished(state: &State, letter: &Letter) -> Option<bool> {
    let (topic, partition, offset) = (letter.topic.as_deref()?, letter.partition?, letter.offset?);
    let known = state.topics.get(topic)?;
    if letter.topic_id.is_some_and(|id| id != known.id) {
        return None;
    }
    let now = state.partitions.get(&(topic.into(), partition))?;
    now.progress.next?;
    Some(now.progress.is_finished(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_letter_reaches_the_terminal_as_a_command() {
        assert_eq!(shown(b"a\x1b[31mb\n", 40), "a\\u{1b}[31mb\\n");
        assert_eq!(shown("\u{202e}abc".as_bytes(), 40), "\\u{202e}abc");
        assert_eq!(shown(b"abcdef", 6), "abcdef");
        assert_eq!(shown(b"abcdefg", 6), "abcde…");
        assert_eq!(shown(b"\xff", 6), "\u{fffd}");
        assert_eq!(first_line("\n  first\nsecond", 40), "first");
    }

    #[test]
    fn a_letter_whose_record_the_group_still_works_on_is_told() {
        use crate::dead_letter::letter::{Entry, read};
        use crate::group::record::TopicInfo;
        use crate::group::state::PartitionState;
        use crate::progress::Progress;
        let letter = |offset: &'static [u8]| {
            let headers: [crate::record::Header<'_>; 3] = [
                (b"__dlq.errors.topic", Some(b"orders")),
                (b"__dlq.errors.partition", Some(b"0")),
                (b"__dlq.errors.offset", Some(offset)),
            ];
            match read(headers.iter().copied()) {
                Entry::Letter(letter) => *letter,
                Entry::Resolution(_) => panic!("a resolution"),
            }
        };
        let mut state = State::default();
        assert_eq!(finished(&state, &letter(b"9")), None);
        let (id, partitions) = ([1; 16], 1);
        state.topics.insert("orders".into(), TopicInfo { id, partitions });
        let now = PartitionState {
            progress: Progress::at(10, -1),
            ..PartitionState::default()
        };
        state.partitions.insert(("orders".into(), 0), now);
        assert_eq!(finished(&state, &letter(b"9")), Some(true));
        assert_eq!(finished(&state, &letter(b"10")), Some(false));
        // Another topic of the same name.
        let mut other = letter(b"9");
        other.topic_id = Some([2; 16]);
        assert_eq!(finished(&state, &other), None);
    }

    #[test]
    fn bytes_are_text_or_base64() {
        assert_eq!(bytes(Some(b"a")), json!("a"));
        assert_eq!(bytes(Some(b"\xff")), json!({"base64": "/w=="}));
        assert_eq!(bytes(None), Value::Null);
    }
}
