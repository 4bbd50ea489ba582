//! Letters and resolutions, in whatever order they were read → what is open, and what may be deleted. Pure.

use std::collections::BTreeMap;

use super::resolution::{Kind, Resolution};

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// How a letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nobody has dealt with it.
    Open,
    /// Dealt with.
    Resolved(Kind),
}

impl State {
    /// A word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved(kind) => kind.name(),
        }
    }
}

/// A letter once, however many copies there are of it.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a, T> {
    /// The letter's id.
    pub id: &'a str,
    /// Its newest copy.
    pub place: Place,
    /// How often that one was replayed.
    pub replays: u32,
    /// What was kept of that one.
    pub detail: &'a T,
    /// How many copies there are: more than one after a crash, or after a replay that failed.
    pub copies: usize,
    /// How it stands.
    pub state: State,
}

#[derive(Debug)]
struct Account<T> {
    /// (how often it was replayed, where) of each copy, and what was kept of the newest.
    copies: Vec<(u32, Place)>,
    newest: Option<((u32, Place), T)>,
    /// (up to how many replays, where, what) of each resolution.
    resolutions: Vec<(u32, Place, Kind)>,
}

impl<T> Default for Account<T> {
    fn default() -> Self {
        Self {
            copies: Vec::new(),
            newest: None,
            resolutions: Vec::new(),
        }
    }
}

impl<T> Account<T> {
    fn resolved(&self) -> Option<(u32, Kind)> {
        let newest = self.resolutions.iter().max();
        newest.map(|&(replays, _, kind)| (replays, kind))
    }

    fn is_open(&self, replays: u32) -> bool {
        self.resolved().is_none_or(|(up_to, _)| replays > up_to)
    }
}

/// What was found in a topic of dead letters.
#[derive(Debug)]
pub struct Ledger<T> {
    accounts: BTreeMap<String, Account<T>>,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self {
            accounts: BTreeMap::new(),
        }
    }
}

impl<T> Ledger<T> {
    /// Adds a copy of a letter.
    pub fn letter(&mut self, id: String, replays: u32, place: Place, detail: T) {
        let account = self.accounts.entry(id).or_default();
        account.copies.push((replays, place));
        if account
            .newest
            .as_ref()
            .is_none_or(|(newest, _)| *newest < (replays, place))
        {
            account.newest = Some(((replays, place), detail));
        }
    }

    /// Adds a resolution.
    pub fn resolution(&mut self, resolution: &Resolution, place: Place) {
        let account = self.accounts.entry(resolution.id.clone()).or_default();
        account
            .resolutions
            .push((resolution.replays, place, resolution.kind));
    }

    /// The letters, each once, by id; those whose resolution alone is left are none.
    pub fn letters(&self) -> impl Iterator<Item = Standing<'_, T>> {
        self.accounts.iter().filter_map(|(id, account)| {
            let ((replays, place), detail) = account.newest.as_ref()?;
            let state = match account.resolved() {
                Some((up_to, kind)) if *replays <= up_to => State::Resolved(kind),
                _ => State::Open,
            };
            Some(Standing {
                id,
                place: *place,
                replays: *replays,
                detail,
                copies: account.copies.len(),
                state,
            })
        })
    }

    /// The partitions in which copies of a letter are: each gets its resolution.
    #[must_use]
    pub fn partitions_of(&self, id: &str) -> Vec<i32> {
        let copies = self.accounts.get(id).map(|account| account.copies.as_slice());
        let mut partitions: Vec<i32> = copies
            .unwrap_or_default()
            .iter()
            .map(|(_, place)| place.partition)
            .collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    /// Up to where each partition may be deleted, given where each ends: up to the first open letter, and never so that a
    /// resolution goes while a letter stays that would be open without it.
    #[must_use]
    pub fn purge_points(&self, ends: &BTreeMap<i32, i64>) -> BTreeMap<i32, i64> {
        let mut points = ends.clone();
        let lower = |points: &mut BTreeMap<i32, i64>, to: Place| {
            let point = points.get_mut(&to.partition);
            match point {
                Some(point) if *point > to.offset => {
                    *point = to.offset;
                    true
                }
                _ => false,
            }
        };
        for account in self.accounts.values() {
            for (replays, place) in &account.copies {
                if account.is_open(*replays) {
                    lower(&mut points, *place);
                }
            }
        }
        // Each round lowers a point, to where a resolution is: it ends.
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for account in self.accounts.values() {
                for (up_to, at, _) in &account.resolutions {
                    let stays = |place: &Place| {
                        points
                            .get(&place.partition)
                            .is_none_or(|point| place.offset >= *point)
                    };
                    let needed = account
                        .copies
                        .iter()
                        .any(|(replays, place)| replays <= up_to && stays(place));
                    if needed {
                        changed |= lower(&mut points, *at);
                    }
                }
            }
        }
        points
    }
}
