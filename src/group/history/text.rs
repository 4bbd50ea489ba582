//! What can be told of a group, as sentences.

use std::fmt;

use super::event::{Event, Jump, Move, Partitions, Place, Who};

/// How many single partitions a sentence names before it says how many more there are; JSON has them all.
const MAX_NAMED: usize = 8;
/// Digits of a member's id in a sentence.
const SHORT: usize = 8;

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.member.get(..SHORT).unwrap_or(&self.member);
        match (&self.instance, &self.host) {
            (Some(instance), Some(host)) => write!(f, "{instance} ({short} on {host})"),
            (Some(instance), None) => write!(f, "{instance} ({short})"),
            (None, Some(host)) => write!(f, "{short} on {host}"),
            (None, None) => f.write_str(short),
        }
    }
}

/// `orders 0-3, 7; payments 1`
impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (topic, partitions)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{topic} {}", Runs(partitions))?;
        }
        Ok(())
    }
}

/// `0-3, 7`
struct Runs<'a>(&'a [i32]);

impl fmt::Display for Runs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.0.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        for (index, run) in numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)).enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match run {
                [first, .., last] => write!(f, "{first}-{last}")?,
                [only] => write!(f, "{only}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Founded { level } => write!(f, "the group was founded, level {level}"),
            Self::Continued { mark_offset, members } => {
                write!(
                    f,
                    "older records are gone; a snapshot as of offset {mark_offset} has "
                )?;
                match members.as_slice() {
                    [] => f.write_str("no members"),
                    [only] => write!(f, "one member: {only}"),
                    all => write!(f, "{} members: {}", all.len(), Listed(all)),
                }
            }
            Self::Untold { records } => {
                write!(
                    f,
                    "older records are gone and there is no whole snapshot: {records} records cannot be told"
                )
            }
            Self::Joined {
                member,
                topics,
                session_s,
            } => {
                write!(
                    f,
                    "{member} joined for {}, session {}",
                    Listed(topics),
                    Secs(*session_s)
                )
            }
            Self::Subscribed { member, topics } => write!(f, "{member} subscribes to {} now", Listed(topics)),
            Self::Leaving { member } => write!(f, "{member} is about to leave"),
            Self::Left { member, freed } => {
                write!(f, "{member} left")?;
                if !freed.is_empty() {
                    write!(f, "; it owned {freed}")?;
                }
                Ok(())
            }
            Self::Expired {
                member,
                by,
                after_s,
                freed,
            } => {
                write!(
                    f,
                    "{member} was expired by {by} after {} of silence",
                    Secs(*after_s)
                )?;
                if !freed.is_empty() {
                    write!(f, "; it owned {freed}")?;
                }
                Ok(())
            }
            Self::Assigned { by, moves } => {
                write!(f, "{by} decided:")?;
                for (index, Move { from, to, partitions }) in moves.iter().enumerate() {
                    let separator = if index > 0 { ";" } else { "" };
                    write!(f, "{separator} {partitions}")?;
                    if let Some(from) = from {
                        write!(f, " from {from}")?;
                    }
                    match to {
                        Some(to) => write!(f, " to {to}")?,
                        None => f.write_str(" to nobody")?,
                    }
                }
                Ok(())
            }
            Self::Granted {
                to,
                from,
                unowned_s,
                partitions,
            } => {
                write!(f, "{to} got {partitions}")?;
                match (from, unowned_s) {
                    (Some(from), Some(unowned)) => {
                        write!(f, ", unowned for {} after {from}", Secs(*unowned))
                    }
                    _ => Ok(()),
                }
            }
            Self::HandedOver {
                from,
                to,
                took_s,
                partitions,
            } => {
                write!(f, "{to} took over {partitions} from {from}")?;
                match took_s {
                    Some(took) => write!(f, " in {}", Secs(*took)),
                    None => Ok(()),
                }
            }
            Self::Released { member, partitions } => write!(f, "{member} gave up {partitions}"),
            Self::Began { member, positions } => {
                write!(f, "{member} begins ")?;
                let place =
                    |place: &Place| format!("{} {} at {}", place.topic, place.partition, place.offset);
                named(f, positions, place)
            }
            Self::Gap {
                member,
                topic,
                partition,
                from,
                to,
            } => {
                let last = to.saturating_sub(1);
                write!(
                    f,
                    "{topic} {partition}: offsets {from} to {last} were gone before {member} got to them"
                )
            }
            Self::Reset { by, why, partitions } => {
                write!(f, "{by} reset ")?;
                let offset =
                    |offset: Option<i64>| offset.map_or("none".to_owned(), |offset| offset.to_string());
                let jump = |jump: &Jump| {
                    format!(
                        "{} {}: {} → {}",
                        jump.topic,
                        jump.partition,
                        offset(jump.from),
                        offset(jump.to)
                    )
                };
                named(f, partitions, jump)?;
                reason(f, why)
            }
            Self::Skipped {
                by,
                why,
                topic,
                partition,
                offset,
            } => {
                write!(f, "{by} skipped offset {offset} of {topic} {partition}")?;
                reason(f, why)
            }
            Self::Paused { by, why, partitions } => switched(f, by, "paused", partitions, why),
            Self::Resumed { by, why, partitions } => switched(f, by, "resumed", partitions, why),
            Self::Grown { topic, from: 0, to } => write!(f, "topic {topic} came in, partitions: {to}"),
            Self::Grown { topic, from, to } => write!(f, "topic {topic} grew from {from} to {to} partitions"),
            Self::Recreated { topic } => {
                write!(
                    f,
                    "topic {topic} was deleted and made anew: it is read from its beginning"
                )
            }
            Self::Level { by, level } => write!(f, "{by} raised the level to {level}"),
            Self::Renewed { by, partitions } => {
                write!(
                    f,
                    "the log was cut back, as {by} saw: new tokens for {partitions}"
                )
            }
            Self::Stale { member, partitions } => {
                write!(
                    f,
                    "void: what {member} reported of {partitions}: it no longer owned that"
                )
            }
            Self::Void { record, by, why } => {
                write!(f, "void: {record}")?;
                if let Some(by) = by {
                    write!(f, " of {by}")?;
                }
                write!(f, ": {why}")
            }
            Self::Noted { member } => write!(f, "{member} noted what holds it back"),
            Self::Marked { by, hash } => write!(f, "{by} set a mark: the state's hash is {hash}"),
            Self::Snapshot { mark_offset, pieces } => {
                write!(
                    f,
                    "the snapshot as of offset {mark_offset} is complete, pieces: {pieces}"
                )
            }
        }
    }
}

fn switched(f: &mut fmt::Formatter<'_>, by: &str, did: &str, what: &Partitions, why: &str) -> fmt::Result {
    if what.is_empty() {
        write!(f, "{by} {did} the group")?;
    } else {
        write!(f, "{by} {did} {what}")?;
    }
    reason(f, why)
}

fn reason(f: &mut fmt::Formatter<'_>, why: &str) -> fmt::Result {
    if why.is_empty() {
        Ok(())
    } else {
        write!(f, " ({why})")
    }
}

fn named<T>(f: &mut fmt::Formatter<'_>, all: &[T], text: impl Fn(&T) -> String) -> fmt::Result {
    let named: Vec<String> = all.iter().take(MAX_NAMED).map(text).collect();
    f.write_str(&named.join(", "))?;
    match all.len().saturating_sub(MAX_NAMED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

struct Listed<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{one}")?;
        }
        Ok(())
    }
}

/// `0.21 s`, `10.4 s`, `3m 20s`
struct Secs(f64);

impl fmt::Display for Secs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONG: f64 = 120.0;
        match std::time::Duration::try_from_secs_f64(self.0) {
            Ok(time) if self.0 >= LONG => {
                let whole = std::time::Duration::from_secs(time.as_secs());
                write!(f, "{}", humantime::format_duration(whole))
            }
            _ if self.0 < 10.0 => write!(f, "{:.2} s", self.0),
            _ => write!(f, "{:.1} s", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::record::{MemberId, PartitionId};

    #[test]
    fn partitions_are_told_in_runs() {
        let topic: std::sync::Arc<str> = "orders".into();
        let partitions: Vec<PartitionId> = [3, 0, 1, 2, 7]
            .into_iter()
            .map(|number| (topic.clone(), number))
            .chain([("a".into(), 5)])
            .collect();
        let all: Partitions = partitions.iter().collect();
        assert_eq!(all.to_string(), "a 5; orders 0-3, 7");
    }

    #[test]
    fn a_member_is_told_by_its_instance_and_host_as_far_as_they_are_known() {
        let mut who = Who::unknown(&MemberId::random(0x0123_4567_89ab_cdef));
        assert_eq!(who.to_string(), "01234567");
        who.host = Some("h1".to_owned());
        assert_eq!(who.to_string(), "01234567 on h1");
        who.instance = Some("billing-0".to_owned());
        assert_eq!(who.to_string(), "billing-0 (01234567 on h1)");
    }

    #[test]
    fn durations_are_as_exact_as_they_are_short() {
        assert_eq!(Secs(0.214).to_string(), "0.21 s");
        assert_eq!(Secs(10.44).to_string(), "10.4 s");
        assert_eq!(Secs(200.4).to_string(), "3m 20s");
    }

    #[test]
    fn a_long_list_is_cut_in_sentences() {
        let positions: Vec<Place> = (0..10)
            .map(|partition| Place {
                topic: "t".to_owned(),
                partition,
                offset: 5,
            })
            .collect();
        let member = Who::unknown(&MemberId::random(0));
        let told = Event::Began { member, positions }.to_string();
        assert!(told.ends_with("t 7 at 5 and 2 more"), "{told}");
    }
}
