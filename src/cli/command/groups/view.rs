//! What there is to see of a group: members and partitions, as lines of JSON and of tables.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::broker::metadata::PartitionId;
use crate::cli::output::{Table, rfc3339, thousands};
use crate::group::history::Line as LogLine;
use crate::group::record::{MemberId, Position, Token};
use crate::group::state::{PartitionState, State};

/// A living member.
#[derive(Debug, Serialize)]
pub(super) struct MemberLine {
    pub(super) member: String,
    pub(super) instance: Option<String>,
    pub(super) host: String,
    pub(super) leader: bool,
    pub(super) leaving: bool,
    pub(super) topics: Vec<String>,
    /// How many partitions it owns.
    pub(super) partitions: usize,
    pub(super) session_s: f64,
    /// By its own clock; none if the record is no longer in the log.
    pub(super) last_report: Option<String>,
}

/// A partition.
#[derive(Debug, Serialize)]
pub(super) struct PartitionLine {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) owner: Option<String>,
    /// The owner's instance name.
    pub(super) instance: Option<String>,
    /// Who should own it.
    pub(super) target: Option<String>,
    /// The instance name that it waits for.
    pub(super) kept: Option<String>,
    pub(super) token: Option<u64>,
    pub(super) next: Option<i64>,
    /// Runs of offsets that are not finished, with finished ones above.
    pub(super) gaps: usize,
    /// Records that wait for another try.
    pub(super) held: usize,
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) lag: Option<i64>,
    pub(super) paused: bool,
    pub(super) late: bool,
}

/// The members in the order in which they joined.
pub(super) fn members(state: &State, log: &[LogLine]) -> Vec<MemberLine> {
    let times: BTreeMap<Position, i64> = log.iter().map(|(at, time, _)| (*at, *time)).collect();
    let mut members: Vec<_> = state.members.iter().collect();
    members.sort_by_key(|(id, info)| (info.joined, *id));
    let leader = state.leader();
    let line = |(id, info): (&MemberId, &crate::group::state::MemberInfo)| MemberLine {
        member: id.to_string(),
        instance: info.instance.clone(),
        host: info.host.clone(),
        leader: leader == Some(id),
        leaving: info.leaving(),
        topics: info.topics.iter().map(ToString::to_string).collect(),
        partitions: state.owned_by(id).count(),
        session_s: std::time::Duration::from_millis(info.session_ms).as_secs_f64(),
        last_report: times.get(&info.beat).map(|time| rfc3339(*time)),
    };
    members.into_iter().map(line).collect()
}

/// The partitions in order, with where their logs begin and end, as far as that is known.
pub(super) fn partitions(state: &State, bounds: &BTreeMap<PartitionId, (i64, i64)>) -> Vec<PartitionLine> {
    let line = |(partition, now): (&PartitionId, &PartitionState)| {
        let bounds = bounds.get(partition);
        let owner = now.owner.as_ref();
        let end = bounds.map(|(_, end)| *end);
        PartitionLine {
            topic: partition.0.to_string(),
            partition: partition.1,
            owner: owner.map(ToString::to_string),
            instance: owner.and_then(|id| state.members.get(id)?.instance.clone()),
            target: now.target.as_ref().map(ToString::to_string),
            kept: now.kept.clone(),
            token: now.token.map(Token::number),
            next: now.progress.next,
            gaps: now.progress.gaps(),
            held: now.progress.held.values().filter(|held| held.tries > 0).count(),
            start: bounds.map(|(start, _)| *start),
            end,
            lag: now
                .progress
                .next
                .zip(end)
                .map(|(next, end)| end.saturating_sub(next).max(0)),
            paused: state.is_paused(partition),
            late: now.late,
        }
    };
    state.partitions.iter().map(line).collect()
}

/// The sum of what is known; none if nothing is.
pub(super) fn lag(partitions: &[PartitionLine]) -> Option<i64> {
    let mut known = partitions.iter().filter_map(|line| line.lag).peekable();
    known.peek()?;
    Some(known.fold(0, i64::saturating_add))
}

/// For people.
pub(super) fn members_table(lines: &[MemberLine]) -> Table {
    let mut table = Table::new([
        "MEMBER",
        "INSTANCE",
        "HOST",
        "PARTITIONS",
        "SESSION",
        "LAST REPORT",
        "",
    ]);
    for line in lines {
        let role = match (line.leader, line.leaving) {
            (_, true) => "leaving",
            (true, false) => "leader",
            (false, false) => "",
        };
        table.row([
            line.member.clone(),
            line.instance.clone().unwrap_or_else(dash),
            line.host.clone(),
            line.partitions.to_string(),
            format!("{} s", line.session_s),
            line.last_report.clone().unwrap_or_else(dash),
            role.to_owned(),
        ]);
    }
    table
}

/// For people.
pub(super) fn partitions_table(lines: &[PartitionLine]) -> Table {
    let mut table = Table::new([
        "TOPIC",
        "PARTITION",
        "OWNER",
        "TOKEN",
        "NEXT",
        "END",
        "LAG",
        "GAPS",
        "HELD",
        "STATE",
    ]);
    for line in lines {
        let owner = line.instance.as_ref().or(line.owner.as_ref());
        table.row([
            line.topic.clone(),
            line.partition.to_string(),
            owner.cloned().unwrap_or_else(dash),
            line.token.map_or_else(dash, |token| token.to_string()),
            line.next.map_or_else(dash, |next| next.to_string()),
            line.end.map_or_else(dash, |end| end.to_string()),
            line.lag.map_or_else(dash, |lag| thousands(lag.unsigned_abs())),
            line.gaps.to_string(),
            line.held.to_string(),
            condition(line),
        ]);
    }
    table
}

fn dash() -> String {
    "-".to_owned()
}

/// What is not as usual with a partition.
fn condition(line: &PartitionLine) -> String {
    let mut words = Vec::new();
    if line.paused {
        words.push("paused".to_owned());
    }
    match (&line.owner, &line.target) {
        (None, Some(target)) => words.push(format!("waits for {target}")),
        (None, None) => words.push("no owner".to_owned()),
        (Some(owner), Some(target)) if owner != target => words.push(format!("moves to {target}")),
        (Some(_), _) => {}
    }
    if let Some(kept) = line.kept.as_ref().filter(|_| line.owner.is_none()) {
        words.push(format!("kept for {kept}"));
    }
    if line.owner.is_some() && line.next.is_none() {
        words.push("no position yet".to_owned());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::state::MemberInfo;
    use crate::progress::Progress;

    fn state() -> State {
        let mut state = State::default();
        for (bits, instance) in [(1_u32, Some("one")), (2, None)] {
            let at = Position::new(0, i64::from(bits));
            let info = MemberInfo {
                instance: instance.map(str::to_owned),
                host: "h".to_owned(),
                topics: std::collections::BTreeSet::from(["t".into()]),
                session_ms: 10_000,
                speaks: 1,
                joined: at,
                beat: at,
                n: 0,
            };
            state.members.insert(MemberId::random(bits.into()), info);
        }
        let owned = PartitionState {
            target: Some(MemberId::random(2)),
            owner: Some(MemberId::random(1)),
            token: Token::try_from(77).ok(),
            progress: Progress::at(40, -1),
            ..PartitionState::default()
        };
        let kept = PartitionState {
            kept: Some("gone".to_owned()),
            ..PartitionState::default()
        };
        state.partitions.insert(("t".into(), 0), owned);
        state.partitions.insert(("t".into(), 1), kept);
        state
    }

    #[test]
    fn lag_is_the_end_less_the_next_offset_where_both_are_known() {
        let ends = BTreeMap::from([(("t".into(), 0), (10, 100)), (("t".into(), 1), (0, 5))]);
        let lines = partitions(&state(), &ends);
        assert_eq!((lines[0].lag, lines[1].lag), (Some(60), None));
        assert_eq!(lag(&lines), Some(60));
        assert_eq!(lag(&partitions(&state(), &BTreeMap::new())), None);
    }

    #[test]
    fn the_table_says_what_moves_and_what_waits() {
        let text = partitions_table(&partitions(&state(), &BTreeMap::new())).render(false);
        assert!(text.contains("moves to 0000000000000002"), "{text}");
        assert!(text.contains("no owner, kept for gone"), "{text}");
        assert!(
            text.contains(" one "),
            "the owner is told by its instance name: {text}"
        );
    }

    #[test]
    fn members_are_told_with_the_time_of_their_last_report() {
        use crate::group::record::{Record, Unreadable};
        let log: Vec<LogLine> = vec![
            (
                Position::new(0, 1),
                1_000,
                Ok(Record::Mark {
                    by: MemberId::random(1),
                }),
            ),
            (Position::new(0, 3), 2_000, Err(Unreadable::NotJson)),
        ];
        let lines = members(&state(), &log);
        assert_eq!(lines[0].last_report.as_deref(), Some("1970-01-01T00:00:01.000Z"));
        assert_eq!(lines[1].last_report, None);
    }
}
