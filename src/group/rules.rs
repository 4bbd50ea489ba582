//! Which of the design's rules are in force: all of them, always, but in tests.
//!
//! Each rule marked † in `coordination.md` mends a way in which groups broke. A test can switch one off and show the
//! break; outside tests [`Rules`] takes no room and every question is answered yes when it is compiled.

/// A rule that can be switched off in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A lease runs only from when the report was read back and held, not from its acknowledgement (rule 1).
    ReadBack,
    /// Handlers are cancelled early enough to be over when the lease ends (rule 1).
    CancelMargin,
    /// One record in flight, repeated until it is read back; a repeat is void and no sign of life (rule 2, report).
    OneInFlight,
    /// The lease clock counts suspension (rule 3).
    BootClock,
    /// A member is expired after its own session, the one in its join, not the observer's (rule 4).
    ObservedSession,
    /// Who has no lease starts its counts of others' silence anew (rule 4).
    RestartCounts,
    /// Nothing starts under a token whose release was sent (rule 6).
    ReleaseFinal,
    /// A release is repeated with the current token until it was read that it held (rule 6).
    RepeatRelease,
    /// Deputies take a decision that is due when the leader does not (rule 7).
    Deputies,
    /// Who lost its place in the log drops its state and begins again (rule 13).
    OutOfRange,
    /// The log is cut at the mark of the snapshot before last; a snapshot is taken only when its mark was read.
    SnapshotCut,
    /// Only a living member that subscribes is a target; a removal clears the targets that name it (assign, removal).
    LiveTarget,
    /// A removed id never comes back, and a join is void when it is old (join).
    Gone,
    /// Each free partition with a target goes to it after every record that holds.
    Settle,
    /// Progress under a token is merged, not replaced (report).
    MergeProgress,
    /// A reset and a skip carry the token that they saw (reset, skip).
    CasReset,
    /// A reset gives a new token and empties what was done (reset).
    ResetToken,
    /// Pause and resume carry the state that they saw (pause).
    CasPause,
    /// What does not fit of `done` is left out from the top only.
    TopOnly,
}

#[cfg(test)]
impl Rule {
    /// All of them.
    pub(crate) const ALL: [Self; 19] = [
        Self::ReadBack,
        Self::CancelMargin,
        Self::OneInFlight,
        Self::BootClock,
        Self::ObservedSession,
        Self::RestartCounts,
        Self::ReleaseFinal,
        Self::RepeatRelease,
        Self::Deputies,
        Self::OutOfRange,
        Self::SnapshotCut,
        Self::LiveTarget,
        Self::Gone,
        Self::Settle,
        Self::MergeProgress,
        Self::CasReset,
        Self::ResetToken,
        Self::CasPause,
        Self::TopOnly,
    ];
}

/// The rules in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// A bit for each rule that is off.
    #[cfg(test)]
    off: u32,
}

impl Rules {
    /// All rules.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            #[cfg(test)]
            off: 0,
        }
    }

    /// Whether a rule is in force.
    #[cfg(not(test))]
    #[must_use]
    pub const fn has(self, _rule: Rule) -> bool {
        true
    }

    /// Whether a rule is in force.
    #[cfg(test)]
    #[must_use]
    pub const fn has(self, rule: Rule) -> bool {
        self.off & (1 << rule as u32) == 0
    }

    /// The same without one rule.
    #[cfg(test)]
    #[must_use]
    pub(crate) const fn without(self, rule: Rule) -> Self {
        Self {
            off: self.off | (1 << rule as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_can_be_switched_off_by_itself() {
        for off in Rule::ALL {
            let rules = Rules::all().without(off);
            for rule in Rule::ALL {
                assert!(Rules::all().has(rule));
                assert_eq!(rules.has(rule), rule != off);
            }
        }
    }
}
