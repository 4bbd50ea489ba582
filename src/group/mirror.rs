//! A member's progress, written to Kafka's own group of the same name as well, so that the tools that look there
//! (`kafka-consumer-groups`, KEDA, Burrow) see what they are used to. It is not read back but where a log was lost:
//! the log decides. Pure; the driver commits.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::record::{MemberId, PartitionId, Token};
use super::state::State;
use crate::broker::commits::Committed;
use crate::broker::error::{Error, ResponseError, Retry};

/// The least time between two commits, in milliseconds: lag is seen elsewhere within two seconds of here.
const PACE: u64 = 500;
/// How often all is committed although nothing has changed, in milliseconds: brokers forget the offsets of a group
/// without members of its own after `offsets.retention.minutes`, a week by default.
const RENEWAL: u64 = 24 * 3_600_000;
/// The time after a failure that may pass, in milliseconds.
const RETRY: u64 = 5_000;

/// What barnabas writes beside an offset that it commits to Kafka's own group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The id of the log's topic, as Kafka's tools print it.
    pub log: String,
    /// The token under which that offset was reached.
    pub token: Token,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "barnabas {} {}", self.log, self.token)
    }
}

/// Text that barnabas did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mark of barnabas")]
pub struct NoMarker;

impl FromStr for Marker {
    type Err = NoMarker;

    fn from_str(text: &str) -> Result<Self, NoMarker> {
        let mut words = text.split(' ');
        let (name, log, token) = (words.next(), words.next(), words.next());
        let token = token.and_then(|token| token.parse::<u64>().ok());
        match (
            name,
            log,
            token.and_then(|token| Token::try_from(token).ok()),
            words.next(),
        ) {
            (Some("barnabas"), Some(log), Some(token), None) => Ok(Self {
                log: log.to_owned(),
                token,
            }),
            _ => Err(NoMarker),
        }
    }
}

/// What was committed of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    next: i64,
    token: Token,
}

/// What to commit, and when.
#[derive(Debug)]
pub(super) struct Mirror {
    log: String,
    told: BTreeMap<PartitionId, Told>,
    /// On its way.
    asked: BTreeMap<PartitionId, Told>,
    /// Something may have changed.
    dirty: bool,
    /// Not before (monotonic milliseconds).
    not_before: u64,
    /// When all is committed again (monotonic milliseconds).
    renewal: u64,
    stopped: bool,
}

impl Mirror {
    /// One that has committed nothing; `log` is the log's id as Kafka's tools print it.
    pub(super) fn new(log: String, mono: u64) -> Self {
        Self {
            log,
            told: BTreeMap::new(),
            asked: BTreeMap::new(),
            dirty: true,
            not_before: mono,
            renewal: mono + RENEWAL,
            stopped: false,
        }
    }

    /// Whether a commit is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Records were read: progress may have changed.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// When [`Self::due`] may have something (monotonic milliseconds).
    pub(super) fn next_wake(&self) -> Option<u64> {
        if self.stopped || self.is_busy() {
            return None;
        }
        Some(if self.dirty { self.not_before } else { self.renewal })
    }

    /// What is to be committed now: what changed of the partitions that this member owns, and of those that it owned
    /// last and nobody owns since. To be followed by [`Self::committed`].
    pub(super) fn due(
        &mut self,
        mono: u64,
        state: &State,
        me: &MemberId,
    ) -> BTreeMap<PartitionId, Committed> {
        let wake = self.next_wake();
        if wake.is_none_or(|wake| mono < wake) {
            return BTreeMap::new();
        }
        if mono >= self.renewal {
            self.told.clear();
            self.renewal = mono + RENEWAL;
        }
        self.dirty = false;
        let commits = self.collect(state, me);
        if !commits.is_empty() {
            self.not_before = mono + PACE;
        }
        commits
    }

    /// What has changed and is on its way or still to be told, when this member goes.
    pub(super) fn last(&mut self, state: &State, me: &MemberId) -> BTreeMap<PartitionId, Committed> {
        if self.stopped {
            return BTreeMap::new();
        }
        // Whether they were committed is not known any more: once more.
        let unsure = std::mem::take(&mut self.asked);
        self.told.extend(unsure.into_keys().map(|id| {
            let never = Told {
                next: -1,
                token: Token::NONE,
            };
            (id, never)
        }));
        self.collect(state, me)
    }

    fn collect(&mut self, state: &State, me: &MemberId) -> BTreeMap<PartitionId, Committed> {
        // What is somebody else's is theirs to tell.
        self.told.retain(|id, _| {
            let owner = state.partitions.get(id).map(|partition| &partition.owner);
            matches!(owner, Some(None)) || matches!(owner, Some(Some(owner)) if owner == me)
        });
        let mut commits = BTreeMap::new();
        let mine = state.owned_by(me).chain(self.told.keys());
        for id in mine {
            let Some(partition) = state.partitions.get(id) else {
                continue;
            };
            let (Some(next), Some(token)) = (partition.progress.next, partition.token) else {
                continue;
            };
            let news = Told { next, token };
            if self.told.get(id) == Some(&news) {
                continue;
            }
            let marker = Marker {
                log: self.log.clone(),
                token,
            };
            let committed = Committed {
                offset: next,
                leader_epoch: partition.progress.epoch,
                metadata: marker.to_string(),
            };
            self.asked.insert(id.clone(), news);
            commits.insert(id.clone(), committed);
        }
        commits
    }

    /// What came of it; a warning for people, where it is over.
    pub(super) fn committed(
        &mut self,
        mono: u64,
        result: Result<BTreeMap<PartitionId, Result<(), Error>>, Error>,
    ) -> Option<String> {
        let asked = std::mem::take(&mut self.asked);
        let outcomes = match result {
            Ok(outcomes) => outcomes,
            Err(error) => return self.failed(mono, &error),
        };
        let mut failure = None;
        for (id, told) in asked {
            match outcomes.get(&id) {
                Some(Ok(())) => {
                    self.told.insert(id, told);
                }
                // A topic that is no more.
                Some(Err(error)) if error.is_unknown_topic() => {}
                Some(Err(error)) => failure = Some(error),
                None => {}
            }
        }
        failure.and_then(|error| self.failed(mono, error))
    }

    fn failed(&mut self, mono: u64, error: &Error) -> Option<String> {
        use ResponseError as E;
        self.dirty = true;
        self.not_before = mono + RETRY;
        let native = matches!(
            error.code(),
            Some(E::UnknownMemberId | E::IllegalGeneration | E::FencedInstanceId | E::StaleMemberEpoch)
        );
        if native {
            self.stopped = true;
            return Some(
                "Kafka's own group of this name has members of its own (by a client without barnabas): offsets are no longer committed to it. The group itself goes on, by its log"
                    .to_owned(),
            );
        }
        if error.retry() == Retry::No && !error.is_unreachable() {
            self.stopped = true;
            return Some(format!(
                "offsets are no longer committed to Kafka's own group of this name, where other tools look: {}. The group itself goes on, by its log",
                error.chain()
            ));
        }
        tracing::debug!("offsets are not committed to Kafka's own group at the moment: {error}");
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::group::record::{Entry, Position, Record, Report, SPEAKS, TopicInfo};
    use crate::group::rules::Rules;
    use crate::progress::Progress;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        let marker = Marker {
            log: "AAAA_-AAAAAAAAAAAAAAAA".to_owned(),
            token: Token::try_from(1_234_567).unwrap(),
        };
        assert_eq!(marker.to_string(), "barnabas AAAA_-AAAAAAAAAAAAAAAA 1234567");
        assert_eq!(marker.to_string().parse(), Ok(marker));
    }

    #[test]
    fn text_of_others_is_no_marker() {
        for text in [
            "",
            "barnabas",
            "barnabas x",
            "barnabas x y",
            "barnabas x 1 z",
            "spring x 1",
        ] {
            assert_eq!(text.parse::<Marker>(), Err(NoMarker), "{text:?}");
        }
    }

    fn refused(code: ResponseError) -> Error {
        Error::Refused {
            what: "committing".to_owned(),
            code,
            message: None,
        }
    }

    fn id(partition: i32) -> PartitionId {
        (Arc::from("t"), partition)
    }

    fn member(bits: u64) -> MemberId {
        MemberId::random(bits)
    }

    /// Member 1 owns partitions 0 and 1 of topic t, which begin at 10; member 2 has come and owns nothing.
    fn state() -> State {
        let topics = BTreeMap::from([(
            Arc::from("t"),
            TopicInfo {
                id: [1; 16],
                partitions: 2,
            },
        )]);
        let join = |bits: u64, read| Record::Join {
            member: member(bits),
            instance: None,
            host: String::new(),
            topics: topics.clone(),
            session_ms: 10_000,
            speaks: SPEAKS,
            read,
        };
        let mut state = State::default();
        let found = Record::Found {
            floor: 1_000,
            level: SPEAKS,
        };
        apply(&mut state, 0, &found);
        apply(&mut state, 1, &join(1, 1));
        assign(&mut state, 2, [(0, 1), (1, 1)]);
        apply(&mut state, 3, &join(2, 3));
        for partition in 0..2 {
            report(&mut state, 4 + i64::from(partition), partition, 10);
        }
        state
    }

    fn apply(state: &mut State, offset: i64, record: &Record) {
        let applied = state.apply(Rules::all(), Position::new(0, offset), record);
        assert!(applied.held, "{record:?}: {:?}", applied.void);
    }

    fn assign(state: &mut State, offset: i64, targets: [(i32, u64); 2]) {
        let changes = targets
            .into_iter()
            .map(|(partition, bits)| (id(partition), Some(member(bits))));
        let assign = Record::Assign {
            by: member(1),
            basis: state.version,
            changes: changes.collect(),
        };
        apply(state, offset, &assign);
    }

    fn report(state: &mut State, offset: i64, partition: i32, next: i64) {
        let entry = Entry {
            partition: id(partition),
            token: state.partitions[&id(partition)].token.unwrap(),
            progress: Progress::at(next, 0),
            gap: None,
        };
        let report = Report {
            member: member(1),
            n: offset.unsigned_abs(),
            entries: vec![entry],
            released: Vec::new(),
            mark: None,
        };
        apply(state, offset, &Record::Report(report));
    }

    fn offsets(commits: &BTreeMap<PartitionId, Committed>) -> Vec<(i32, i64)> {
        let offset = |((_, partition), committed): (&PartitionId, &Committed)| (*partition, committed.offset);
        commits.iter().map(offset).collect()
    }

    fn all_well(commits: &BTreeMap<PartitionId, Committed>) -> BTreeMap<PartitionId, Result<(), Error>> {
        commits.keys().map(|id| (id.clone(), Ok(()))).collect()
    }

    #[test]
    fn what_changed_is_committed_at_the_pace_and_all_of_it_once_a_day() {
        let (mut state, mut mirror, me) = (state(), Mirror::new("log".to_owned(), 0), member(1));
        let first = mirror.due(0, &state, &me);
        assert_eq!(offsets(&first), [(0, 10), (1, 10)]);
        assert!(mirror.is_busy() && mirror.next_wake().is_none());
        assert_eq!(mirror.committed(5, Ok(all_well(&first))), None);
        report(&mut state, 6, 1, 20);
        mirror.touch();
        assert!(mirror.due(PACE - 1, &state, &me).is_empty());
        let second = mirror.due(PACE, &state, &me);
        assert_eq!(offsets(&second), [(1, 20)]);
        mirror.committed(PACE, Ok(all_well(&second)));
        assert_eq!(mirror.next_wake(), Some(RENEWAL));
        assert_eq!(offsets(&mirror.due(RENEWAL, &state, &me)), [(0, 10), (1, 20)]);
    }

    #[test]
    fn a_commit_that_failed_is_made_again() {
        let (state, mut mirror, me) = (state(), Mirror::new("log".to_owned(), 0), member(1));
        mirror.due(0, &state, &me);
        mirror.committed(0, Err(refused(ResponseError::CoordinatorNotAvailable)));
        assert!(mirror.due(RETRY - 1, &state, &me).is_empty());
        assert_eq!(offsets(&mirror.due(RETRY, &state, &me)), [(0, 10), (1, 10)]);
    }

    #[test]
    fn what_this_member_did_last_is_told_and_what_others_own_is_theirs_to_tell() {
        let (mut state, mut mirror, me) = (state(), Mirror::new("log".to_owned(), 0), member(1));
        let first = mirror.due(0, &state, &me);
        mirror.committed(0, Ok(all_well(&first)));
        assign(&mut state, 6, [(0, 1), (1, 2)]);
        report(&mut state, 7, 0, 30);
        let leave = Report {
            member: member(1),
            n: 8,
            entries: Vec::new(),
            released: Vec::new(),
            mark: None,
        };
        apply(&mut state, 8, &Record::Leave(leave));
        assert_eq!(state.partitions[&id(1)].owner, Some(member(2)));
        assert_eq!(offsets(&mirror.last(&state, &me)), [(0, 30)]);
    }

    #[test]
    fn members_of_kafkas_own_protocol_end_the_mirror_and_a_coordinator_that_moves_does_not() {
        let mut mirror = Mirror::new("log".to_owned(), 0);
        let moved = refused(ResponseError::NotCoordinator);
        assert_eq!(mirror.committed(0, Err(moved)), None);
        assert_eq!(mirror.next_wake(), Some(RETRY));
        let native = refused(ResponseError::UnknownMemberId);
        assert!(
            mirror
                .committed(RETRY, Err(native))
                .unwrap()
                .contains("members of its own")
        );
        assert_eq!(mirror.next_wake(), None);
    }
}
