//! Transactional producers: their ids, epochs and what is in their open transactions. Pure.
//!
//! As Kafka's first protocol of transactions (`transaction.version` 0 and 1). They do not outlive the process.

use std::collections::{BTreeMap, BTreeSet};

use super::call::Now;
use super::cluster::Cluster;
use super::code;
use super::group::Committed;
use super::keep::Keep;

/// The longest time-out of a transaction, in milliseconds: Kafka's `transaction.max.timeout.ms`.
const MAX_TIMEOUT: i32 = 15 * 60 * 1000;

/// What a transactional id stands for.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) producer: (i64, i16),
    /// In milliseconds.
    timeout: u64,
    /// Until when the open one may last.
    open_until: Option<u64>,
    partitions: BTreeSet<(String, i32)>,
    /// By group: what is committed with it.
    pub(crate) offsets: BTreeMap<String, BTreeMap<(String, i32), Committed>>,
    /// How the last one ended, for a client that asks again.
    ended: Option<bool>,
}

impl Transaction {
    /// When it is aborted, if it is open.
    pub(crate) fn expires(&self) -> Option<u64> {
        self.open_until
    }

    /// Whether the producer may write to a partition in it.
    pub(crate) fn has(&self, topic: &str, partition: i32) -> bool {
        self.open_until.is_some() && self.partitions.iter().any(|(t, p)| t == topic && *p == partition)
    }

    fn check(&self, producer: (i64, i16)) -> Result<(), i16> {
        if producer.0 != self.producer.0 {
            Err(code::INVALID_PRODUCER_ID_MAPPING)
        } else if producer.1 != self.producer.1 {
            Err(code::PRODUCER_FENCED)
        } else {
            Ok(())
        }
    }
}

impl Cluster {
    /// An id for a producer without transactions.
    pub(crate) fn new_producer(&mut self) -> i64 {
        let id = self.next_producer;
        self.next_producer += 1;
        self.touch();
        id
    }

    /// Whoever had the transactional id before is fenced, and its open transaction aborted. `expected` is what the client
    /// believes to be, if anything.
    ///
    /// # Errors
    /// Kafka's code.
    pub(crate) fn init_transactions(
        &mut self,
        id: &str,
        timeout: i32,
        expected: Option<(i64, i16)>,
        now: Now,
    ) -> Result<(i64, i16), i16> {
        if id.is_empty() {
            return Err(code::INVALID_REQUEST);
        }
        if !(1..=MAX_TIMEOUT).contains(&timeout) {
            return Err(code::INVALID_TRANSACTION_TIMEOUT);
        }
        let known = self.transactions.get(id).map(|known| known.producer);
        if let (Some(known), Some(expected)) = (known, expected)
            && expected != known
        {
            return Err(code::PRODUCER_FENCED);
        }
        let producer = match known {
            None => (self.new_producer(), 0),
            Some((producer, epoch)) => {
                let next = epoch.checked_add(1).filter(|next| *next < i16::MAX);
                self.end_open(id, (producer, next.unwrap_or(i16::MAX)), false, now);
                match next {
                    Some(next) => (producer, next),
                    None => (self.new_producer(), 0),
                }
            }
        };
        let transaction = Transaction {
            producer,
            timeout: u64::try_from(timeout).unwrap_or(0),
            open_until: None,
            partitions: BTreeSet::new(),
            offsets: BTreeMap::new(),
            ended: None,
        };
        self.transactions.insert(id.to_owned(), transaction);
        Ok(producer)
    }

    /// Puts partitions, or a group's offsets, into the producer's transaction, which is open from then on.
    ///
    /// # Errors
    /// Kafka's code.
    pub(crate) fn add_to_transaction(
        &mut self,
        id: &str,
        producer: (i64, i16),
        partitions: &[(String, i32)],
        group: Option<&str>,
        now: Now,
    ) -> Result<(), i16> {
        let transaction = self
            .transactions
            .get_mut(id)
            .ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
        transaction.check(producer)?;
        transaction
            .open_until
            .get_or_insert(now.mono + transaction.timeout);
        transaction.ended = None;
        transaction.partitions.extend(partitions.iter().cloned());
        if let Some(group) = group {
            transaction.offsets.entry(group.to_owned()).or_default();
        }
        Ok(())
    }

    /// The transaction in which a group's offsets may be committed.
    ///
    /// # Errors
    /// Kafka's code.
    pub(crate) fn transaction_of(&mut self, id: &str, producer: (i64, i16)) -> Result<&mut Transaction, i16> {
        let transaction = self
            .transactions
            .get_mut(id)
            .ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
        transaction.check(producer)?;
        if transaction.open_until.is_some() {
            Ok(transaction)
        } else {
            Err(code::INVALID_TXN_STATE)
        }
    }

    /// Ends a transaction.
    ///
    /// # Errors
    /// Kafka's code.
    pub(crate) fn end_transaction(
        &mut self,
        id: &str,
        producer: (i64, i16),
        committed: bool,
        now: Now,
    ) -> Result<(), i16> {
        let transaction = self
            .transactions
            .get_mut(id)
            .ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
        transaction.check(producer)?;
        if transaction.open_until.is_none() {
            return if transaction.ended == Some(committed) {
                Ok(())
            } else {
                Err(code::INVALID_TXN_STATE)
            };
        }
        self.end_open(id, producer, committed, now);
        Ok(())
    }

    /// Markers go to all its partitions; what its groups committed holds from now on, or never did.
    fn end_open(&mut self, id: &str, producer: (i64, i16), committed: bool, now: Now) {
        let Some(transaction) = self.transactions.get_mut(id) else {
            return;
        };
        if transaction.open_until.take().is_none() {
            return;
        }
        transaction.ended = Some(committed);
        let partitions = std::mem::take(&mut transaction.partitions);
        let offsets = std::mem::take(&mut transaction.offsets);
        for (topic, partition) in partitions {
            self.end_in_partition(&topic, partition, producer, committed, now);
        }
        if !committed {
            return;
        }
        for (group, of) in offsets {
            for ((topic, partition), committed) in of {
                self.commit(&group, &topic, partition, committed);
            }
        }
    }

    /// A group's offset holds from now on.
    pub(crate) fn commit(&mut self, group: &str, topic: &str, partition: i32, committed: Committed) {
        let of = self.groups.entry(group.to_owned()).or_default();
        of.offsets
            .insert((topic.to_owned(), partition), committed.clone());
        self.keep(Keep::Offset {
            group: group.to_owned(),
            topic: topic.to_owned(),
            partition,
            committed: Some(committed),
        });
    }

    /// Aborts transactions that have lasted too long, and fences their producers.
    pub(crate) fn expire_transactions(&mut self, now: Now) {
        let expired =
            |transaction: &Transaction| transaction.open_until.is_some_and(|until| until <= now.mono);
        let ids: Vec<String> = self
            .transactions
            .iter()
            .filter(|(_, transaction)| expired(transaction))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            let Some(transaction) = self.transactions.get_mut(&id) else {
                continue;
            };
            transaction.producer.1 = transaction.producer.1.saturating_add(1);
            let producer = transaction.producer;
            self.end_open(&id, producer, false, now);
        }
    }
}
