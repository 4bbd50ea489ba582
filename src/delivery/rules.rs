//! Which of the design's marked rules are in force: all of them, except where the simulation switches one off to see
//! that it is needed.

/// A rule of `delivery.md` that a run without fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Rule {
    /// A bound stops fetching and never finishing: many gaps stop no start.
    FinishAlways,
    /// Bodies behind a held head leave the buffer and are fetched again.
    Evict,
    /// A record gone when fetched again is finished or a gap, and does not wait for ever.
    Gone,
    /// Retries hold at most a quarter of the slots and get every fourth start.
    Share,
    /// A due time from another clock is at most the longest back-off away.
    Clamp,
    /// A failure counts only with the success of another lane on both sides of it.
    Proof,
    /// After a long time a record goes without proof, so that the last key of a quiet topic ends.
    GiveUp,
    /// Close to the bound proven heads go at once, and followers of dead-lettered ones as soon as others' successes prove one failure.
    Tight,
    /// At the bound quiet failures are enough.
    Full,
    /// Only what stands still makes the bound a tight one.
    Stalled,
    /// A lost attempt's key waits until the deadline and the grace are over.
    Grace,
    /// The breaker looks only at lanes that were not known to be bad.
    Fresh,
    /// The probe is the ready head with the fewest attempts.
    Rotate,
    /// A record skipped while in flight keeps its lane until it ends.
    SkipWaits,
    /// What is close to the end of its retention goes to the dead letters.
    Expire,
    /// The expiring records of one key go one behind the other, without waiting for each acknowledgement.
    Pipeline,
    /// At the drain's end unacknowledged dead letters are given up.
    DrainEnds,
    /// The window is read back for every token.
    Rebuild,
    /// A read-back counts finished offsets only.
    OnlyFinished,
    /// Only a lower offset makes a record a duplicate.
    Lower,
    /// A record waits for an unfinished lower one with its id.
    IdWaits,
    /// An offset is finished only when its dead letter is acknowledged.
    Acknowledged,
    /// A new owner does not run again what is finished.
    Seek,
    /// What another may have begun is delivered as such.
    Maybe,
}

impl Rule {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 24] = [
        Self::FinishAlways,
        Self::Evict,
        Self::Gone,
        Self::Share,
        Self::Clamp,
        Self::Proof,
        Self::GiveUp,
        Self::Tight,
        Self::Full,
        Self::Stalled,
        Self::Grace,
        Self::Fresh,
        Self::Rotate,
        Self::SkipWaits,
        Self::Expire,
        Self::Pipeline,
        Self::DrainEnds,
        Self::Rebuild,
        Self::OnlyFinished,
        Self::Lower,
        Self::IdWaits,
        Self::Acknowledged,
        Self::Seek,
        Self::Maybe,
    ];
}

/// The rules in force.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    #[cfg(test)]
    off: u32,
}

impl Rules {
    /// All of them.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            #[cfg(test)]
            off: 0,
        }
    }

    /// Whether this one is in force.
    #[cfg(not(test))]
    #[must_use]
    #[inline]
    pub const fn has(self, _rule: Rule) -> bool {
        true
    }

    /// Whether this one is in force.
    #[cfg(test)]
    #[must_use]
    pub const fn has(self, rule: Rule) -> bool {
        self.off & (1 << rule as u32) == 0
    }

    /// All of these but that one.
    #[cfg(test)]
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self {
            off: self.off | (1 << rule as u32),
        }
    }
}
