//! Why a partition is where it is. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::records::{self, Line, answer};
use crate::broker::metadata::PartitionId;
use crate::cli::command::dlq::view::shown;
use crate::cli::output::{Table, plural, rfc3339, thousands};
use crate::group::history::Line as LogLine;
use crate::group::record::{Holds, MemberId, Note, Position, Record};
use crate::group::state::{PartitionState, State};

/// Records of a partition that are told.
const MAX_RECORDS: usize = 8;
/// A member is taken for silent when it has not reported for so many of its sessions.
const SESSIONS: u64 = 2;
/// Characters of a text by others.
const MAX_TEXT: usize = 120;

/// What is known of a group. Times are milliseconds since the epoch.
pub(super) struct Facts<'a> {
    pub(super) state: &'a State,
    /// What living members noted last, and when.
    pub(super) notes: BTreeMap<&'a MemberId, (i64, &'a Note)>,
    pub(super) log: &'a [LogLine],
    /// Where partitions begin and end.
    pub(super) bounds: &'a BTreeMap<PartitionId, (i64, i64)>,
    pub(super) now: i64,
}

/// A member, as people know it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Who {
    member: String,
    instance: Option<String>,
    host: String,
}

/// What a member says of its handler.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct MemberWhy {
    #[serde(flatten)]
    who: Who,
    /// When it said so.
    noted: String,
    breaker: Option<Breaker>,
    fuse: Option<String>,
    /// The handler asked for a pause until then.
    pause_until: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Breaker {
    since: String,
    since_s: f64,
    next_probe: Option<String>,
    outcome: Option<String>,
    status: Option<String>,
    excerpt: Option<String>,
    /// The answer that opened it, for people.
    #[serde(skip)]
    by: String,
    /// When the next event is tried.
    #[serde(skip)]
    probe: Option<i64>,
}

/// A partition that is behind, and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Why {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) owner: Option<Who>,
    pub(super) next: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) lag: Option<i64>,
    /// A word for each, the most important first.
    pub(super) reasons: Vec<&'static str>,
    /// For people.
    pub(super) why: String,
    /// What the handler has had for long.
    pub(super) running: Option<Running>,
    /// How many records wait after a failure.
    pub(super) held: usize,
    /// The oldest of them.
    pub(super) records: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Running {
    offset: i64,
    since: String,
    since_s: f64,
}

/// Nothing is wrong: there is only more to do.
const BACKLOG: &str = "backlog";

impl Why {
    /// Whether more than the work before it is in its way.
    pub(super) fn is_held_back(&self) -> bool {
        self.reasons.iter().any(|reason| *reason != BACKLOG)
    }

    fn because(&mut self, reason: &'static str, text: &str) {
        self.reasons.push(reason);
        if !self.why.is_empty() {
            self.why.push_str("; ");
        }
        self.why.push_str(text);
    }
}

impl Facts<'_> {
    /// Those of the partitions that are behind, or have records that wait.
    pub(super) fn partitions(&self, partitions: &[PartitionId]) -> Vec<Why> {
        let known = partitions
            .iter()
            .filter_map(|id| Some((id, self.state.partitions.get(id)?)));
        known.filter_map(|(id, now)| self.partition(id, now)).collect()
    }

    fn partition(&self, id: &PartitionId, now: &PartitionState) -> Option<Why> {
        let bounds = self.bounds.get(id);
        let next = now.progress.next;
        let end = bounds.map(|(_, end)| *end);
        let lag = next.zip(end).map(|(next, end)| end.saturating_sub(next).max(0));
        let holds = self.holds(id, now);
        let held = held(now, holds);
        let there = bounds.is_none_or(|(start, end)| end > start);
        if held.is_empty() && (lag == Some(0) || next.is_none() && !there) {
            return None;
        }
        let mut why = Why {
            topic: id.0.to_string(),
            partition: id.1,
            owner: now.owner.as_ref().and_then(|owner| self.who(owner)),
            next,
            end,
            lag,
            ..Why::default()
        };
        if bounds.is_none() {
            why.because(
                "unreachable",
                "the brokers do not tell where its log begins and ends",
            );
        }
        self.of_operators(id, now, &mut why);
        self.of_owner(id, now, &mut why);
        if let Some(owner) = &now.owner {
            self.of_handler(owner, &held, &mut why);
        }
        self.of_records(now, holds, &held, &mut why);
        if why.reasons.is_empty() {
            why.because(BACKLOG, "nothing is wrong: what came before is worked on");
        }
        Some(why)
    }

    /// What the owner noted of it.
    fn holds(&self, id: &PartitionId, now: &PartitionState) -> Option<&Holds> {
        let (_, note) = self.notes.get(now.owner.as_ref()?)?;
        note.partitions
            .get(id)
            .filter(|holds| Some(holds.token) == now.token)
    }

    fn of_operators(&self, id: &PartitionId, now: &PartitionState, why: &mut Why) {
        let state = self.state;
        for (paused, at, what) in [
            (state.paused, state.pause_seen, "the group is paused"),
            (now.paused, now.pause_seen, "it is paused"),
        ] {
            if paused {
                let by = self.paused_by(at, what == "it is paused", id);
                why.because("paused", &format!("{what}{by}"));
            }
        }
    }

    fn paused_by(&self, at: Position, partition_only: bool, id: &PartitionId) -> String {
        let record = self.log.iter().find(|(position, _, _)| *position == at);
        let Some((
            _,
            time,
            Ok(Record::Pause {
                by, why, partition, ..
            }),
        )) = record
        else {
            return String::new();
        };
        if partition_only && partition.as_ref() != Some(id) {
            return String::new();
        }
        let reason = if why.is_empty() {
            String::new()
        } else {
            format!(" ({})", text(why))
        };
        format!(
            " by {} for {}{reason}",
            text(by),
            span(seconds(self.now.saturating_sub(*time)))
        )
    }

    fn of_owner(&self, id: &PartitionId, now: &PartitionState, why: &mut Why) {
        let Some(owner) = &now.owner else {
            let (text, target) = (self.nobody(id, now), &now.target);
            let reason = if target.is_some() { "moving" } else { "no_owner" };
            return why.because(reason, &text);
        };
        if let Some(target) = now.target.as_ref().filter(|target| *target != owner) {
            let to = self.name(target);
            why.because("moving", &format!("its owner is to hand it over to {to}"));
        }
        if let Some(silent) = self.silent_for(owner) {
            let text = format!("its owner was heard of last {} ago, by the clocks", span(silent));
            why.because("silent", &text);
        }
        if now.progress.next.is_none() {
            why.because("no_position", "its first position is not found yet");
        }
    }

    fn nobody(&self, id: &PartitionId, now: &PartitionState) -> String {
        if let Some(target) = &now.target {
            return format!("nobody owns it: {} is about to", self.name(target));
        }
        if let Some(kept) = &now.kept {
            return format!(
                "nobody owns it: it waits for instance {} to come back",
                text(kept)
            );
        }
        if self.state.members.is_empty() {
            return "nobody owns it: the group has no members".to_owned();
        }
        if self.state.subscribers(&id.0).next().is_none() {
            return format!("nobody owns it: no member subscribes to {}", id.0);
        }
        "nobody owns it yet".to_owned()
    }

    /// For how many seconds a member has not reported, if that is long. Its clock may be another than ours.
    fn silent_for(&self, member: &MemberId) -> Option<f64> {
        let info = self.state.members.get(member)?;
        let (_, time, _) = self.log.iter().rev().find(|(at, _, _)| *at == info.beat)?;
        let silent = self.now.saturating_sub(*time);
        let most = i64::try_from(info.session_ms.saturating_mul(SESSIONS)).unwrap_or(i64::MAX);
        (silent > most).then(|| seconds(silent))
    }

    fn of_handler(&self, owner: &MemberId, held: &BTreeSet<i64>, why: &mut Why) {
        let Some((_, note)) = self.notes.get(owner) else {
            return;
        };
        if note.breaker.is_some() {
            why.because("breaker", "the owner's handler is out of order (breaker open)");
        }
        if note.fuse.is_some() && !held.is_empty() {
            why.because("fuse", "the owner's fuse has blown");
        }
        if let Some(left) = note
            .pause
            .map(|until| until.saturating_sub(self.now))
            .filter(|left| *left > 0)
        {
            let text = format!(
                "the handler asked to be left alone for another {}",
                span(seconds(left))
            );
            why.because("pause", &text);
        }
    }

    fn of_records(&self, now: &PartitionState, holds: Option<&Holds>, held: &BTreeSet<i64>, why: &mut Why) {
        why.held = held.len();
        if !held.is_empty() {
            let verb = if held.len() == 1 { "waits" } else { "wait" };
            let text = format!("{} {verb} after failures", plural(held.len() as u64, "event"));
            why.because("held", &text);
        }
        if let Some(stopped) = holds.and_then(|holds| holds.stopped.as_deref()) {
            why.because("stopped", &format!("no more is fetched: {}", text(stopped)));
        }
        if let Some((offset, since)) = holds
            .and_then(|holds| holds.running)
            .filter(|(offset, _)| !now.progress.is_finished(*offset))
        {
            let since_s = seconds(self.now.saturating_sub(since));
            let text = format!("the handler has had offset {offset} for {}", span(since_s));
            why.because("slow", &text);
            why.running = Some(Running {
                offset,
                since: rfc3339(since),
                since_s,
            });
        }
        let noted = |offset: i64| holds?.held.iter().find(|waiting| waiting.offset == offset);
        let line = |offset: &i64| {
            let held = now.progress.held.get(offset).filter(|held| held.tries > 0);
            records::line(*offset, held, noted(*offset), self.now)
        };
        why.records = held.iter().take(MAX_RECORDS).map(line).collect();
    }

    /// What members say of their handlers, where they are out of order.
    pub(super) fn members(&self) -> Vec<MemberWhy> {
        let lines = self.notes.iter().filter_map(|(id, (time, note))| {
            let why = MemberWhy {
                who: self.who(id)?,
                noted: rfc3339(*time),
                breaker: note.breaker.as_ref().map(|open| Breaker {
                    since: rfc3339(open.since),
                    since_s: seconds(self.now.saturating_sub(open.since)),
                    next_probe: open.probe.map(rfc3339),
                    outcome: open.by.as_ref().map(|by| text(&by.outcome)),
                    status: open.by.as_ref().and_then(|by| by.status.as_deref().map(text)),
                    excerpt: open.by.as_ref().map(|by| text(&by.excerpt)),
                    by: open.by.as_ref().map(answer).unwrap_or_default(),
                    probe: open.probe,
                }),
                fuse: note.fuse.as_deref().map(text),
                pause_until: note.pause.filter(|until| *until > self.now).map(rfc3339),
            };
            (why.is_out_of_order() || why.pause_until.is_some()).then_some(why)
        });
        lines.collect()
    }

    fn who(&self, id: &MemberId) -> Option<Who> {
        let info = self.state.members.get(id)?;
        Some(Who {
            member: id.to_string(),
            instance: info.instance.clone(),
            host: info.host.clone(),
        })
    }

    fn name(&self, id: &MemberId) -> String {
        self.who(id).map_or_else(|| id.to_string(), |who| who.name())
    }
}

/// The offsets that wait after a failure: those that the group knows of, and those that only the owner does.
fn held(now: &PartitionState, holds: Option<&Holds>) -> BTreeSet<i64> {
    let noted = holds.into_iter().flat_map(|holds| &holds.held);
    let noted = noted
        .map(|waiting| waiting.offset)
        .filter(|offset| *offset >= 0 && !now.progress.is_finished(*offset));
    // One without a try only may have been in a former owner's hands: it is not held.
    let held = now.progress.held.iter().filter(|(_, held)| held.tries > 0);
    held.map(|(offset, _)| *offset).chain(noted).collect()
}

impl Who {
    fn name(&self) -> String {
        let name = self.instance.as_deref().unwrap_or(&self.member);
        format!("{} on {}", text(name), text(&self.host))
    }
}

impl MemberWhy {
    /// Whether something is to be done about its handler.
    pub(super) fn is_out_of_order(&self) -> bool {
        self.breaker.is_some() || self.fuse.is_some()
    }

    /// For people.
    pub(super) fn lines(&self, group: &str, now: i64) -> Vec<String> {
        let name = self.who.name();
        let mut lines = Vec::new();
        if let Some(open) = &self.breaker {
            let by = if open.by.is_empty() {
                "the handler is out of order"
            } else {
                &open.by
            };
            let probe = open.probe.map(|at| at.saturating_sub(now));
            let probe = match probe.filter(|left| *left > 0) {
                Some(left) => format!("one event is tried in {}", span(seconds(left))),
                None => "one event is tried now".to_owned(),
            };
            let since = span(open.since_s);
            lines.push(format!(
                "{name}: the breaker has been open for {since}: {by}; {probe}"
            ));
        }
        if let Some(fuse) = &self.fuse {
            lines.push(format!(
                "{name}: the fuse has blown: {fuse}; rejected events are held. When that is mended, or meant: \
                 barnabas groups resume {group}"
            ));
        }
        if let Some(until) = &self.pause_until {
            lines.push(format!(
                "{name}: the handler asked to be left alone until {until}"
            ));
        }
        lines
    }
}

/// For people.
pub(super) fn table(partitions: &[Why]) -> Table {
    let mut table = Table::new(["TOPIC", "PARTITION", "OWNER", "NEXT", "LAG", "WHY"]);
    let dash = || "-".to_owned();
    for why in partitions {
        table.row([
            why.topic.clone(),
            why.partition.to_string(),
            why.owner.as_ref().map_or_else(dash, Who::name),
            why.next.map_or_else(dash, |next| next.to_string()),
            why.lag.map_or_else(dash, |lag| thousands(lag.unsigned_abs())),
            why.why.clone(),
        ]);
    }
    table
}

/// Milliseconds as seconds, not below 0.
pub(super) fn seconds(millis: i64) -> f64 {
    std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(0)).as_secs_f64()
}

/// How long something takes, for people: `12 s`, `5 min`, `3 h`, `2 d`.
pub(super) fn span(seconds: f64) -> String {
    for (unit, length, most) in [
        ("s", 1.0, 120.0),
        ("min", 60.0, 7_200.0),
        ("h", 3_600.0, 172_800.0),
    ] {
        if seconds < most {
            return format!("{:.0} {unit}", (seconds / length).floor());
        }
    }
    format!("{:.0} d", (seconds / 86_400.0).floor())
}

/// What others wrote, so that it can do nothing in a terminal.
fn text(text: &str) -> String {
    shown(text.as_bytes(), MAX_TEXT)
}

#[cfg(test)]
mod tests;
