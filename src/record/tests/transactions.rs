//! What readers of committed records get to see.

use super::*;

const TRANSACTIONAL: u8 = 0x10;
const CONTROL: u8 = 0x30;

fn at(base: i64, producer: i64, attributes: u8, mut batch: Vec<u8>) -> Vec<u8> {
    batch[..8].copy_from_slice(&base.to_be_bytes());
    batch[22] |= attributes;
    stamp(&mut batch, producer, 0, 0);
    batch
}

/// Three records of a transaction.
fn open(base: i64, producer: i64) -> Vec<u8> {
    at(base, producer, TRANSACTIONAL, plain())
}

fn plain() -> Vec<u8> {
    let record = NewRecord {
        value: Some(b"v"),
        ..NewRecord::default()
    };
    batch(Codec::None, &[record, record, record])
}

fn marker(base: i64, producer: i64, kind: u8) -> Vec<u8> {
    let key = [0, 0, 0, kind];
    let record = NewRecord {
        key: Some(&key),
        value: Some(&[0; 6]),
        ..NewRecord::default()
    };
    at(base, producer, CONTROL, batch(Codec::None, &[record]))
}

fn abort(base: i64, producer: i64) -> Vec<u8> {
    marker(base, producer, 0)
}

fn commit(base: i64, producer: i64) -> Vec<u8> {
    marker(base, producer, 1)
}

fn aborted(entries: &[(i64, i64)]) -> AbortedFilter {
    let entries = entries.iter();
    AbortedFilter::read_committed(entries.map(|&(producer_id, first_offset)| AbortedTransaction {
        first_offset,
        producer_id,
    }))
}

/// The base offsets of the batches that are delivered.
fn delivered(mut filter: AbortedFilter, batches: &[Vec<u8>]) -> Vec<i64> {
    let set = batches.concat();
    let batches = Batches::new(&set);
    batches
        .filter(|batch| filter.decide(batch) == Ok(Verdict::Deliver))
        .map(|batch| batch.header.base_offset)
        .collect()
}

#[test]
fn an_aborted_transaction_is_left_out_and_the_producer_s_next_one_is_not() {
    let set = [open(0, 7), open(3, 7), abort(6, 7), open(7, 7), commit(10, 7)];
    assert_eq!(delivered(aborted(&[(7, 0)]), &set), [7]);
}

#[test]
fn other_producers_and_records_of_no_transaction_go_through_in_between() {
    let set = [
        open(0, 7),
        open(3, 8),
        at(6, -1, 0, plain()),
        at(9, 7, 0, plain()),
        abort(12, 7),
        commit(13, 8),
    ];
    assert_eq!(delivered(aborted(&[(7, 0)]), &set), [3, 6, 9]);
}

#[test]
fn a_transaction_is_aborted_from_its_first_offset_on_only() {
    // The earlier one was committed; its marker lies between.
    let set = [open(0, 7), commit(3, 7), open(4, 7), abort(7, 7)];
    assert_eq!(delivered(aborted(&[(7, 4)]), &set), [0]);
}

#[test]
fn a_fetch_that_begins_within_an_aborted_transaction_leaves_it_out() {
    let set = [open(100, 7), abort(103, 7), open(104, 7)];
    assert_eq!(delivered(aborted(&[(7, 20)]), &set), [104]);
}

#[test]
fn a_first_offset_within_a_batch_aborts_the_batch() {
    // Compaction may have taken the record that the transaction began with.
    let set = [open(0, 7), abort(3, 7)];
    assert_eq!(delivered(aborted(&[(7, 2)]), &set), [0; 0]);
}

#[test]
fn the_order_of_the_list_is_of_no_matter() {
    let set = [
        open(0, 7),
        abort(3, 7),
        open(4, 8),
        open(7, 7),
        abort(10, 7),
        abort(11, 8),
    ];
    assert_eq!(delivered(aborted(&[(7, 7), (8, 4), (7, 0)]), &set), [0; 0]);
    assert_eq!(delivered(aborted(&[(7, 7), (7, 0)]), &set), [4]);
}

#[test]
fn readers_of_everything_get_all_but_the_markers() {
    let set = [open(0, 7), abort(3, 7), open(4, 8), commit(7, 8)];
    assert_eq!(delivered(AbortedFilter::read_uncommitted(), &set), [0, 4]);
    let mut filter = AbortedFilter::read_uncommitted();
    assert_eq!(
        filter.decide(&only(&set[1])),
        Ok(Verdict::Control(ControlRecord::Abort))
    );
    assert_eq!(
        filter.decide(&only(&set[3])),
        Ok(Verdict::Control(ControlRecord::Commit))
    );
    assert_eq!(
        filter.decide(&only(&marker(9, -1, 5))),
        Ok(Verdict::Control(ControlRecord::Other(5)))
    );
}

#[test]
fn a_damaged_marker_is_an_error_and_ends_the_transaction() {
    let mut damaged = abort(3, 7);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let mut filter = aborted(&[(7, 0)]);
    assert_eq!(filter.decide(&only(&open(0, 7))), Ok(Verdict::Aborted));
    let error = filter.decide(&only(&damaged)).unwrap_err();
    assert!(matches!(
        error,
        BatchError {
            base: 3,
            last: 3,
            reason: Reason::Checksum { .. }
        }
    ));
    assert_eq!(filter.decide(&only(&open(4, 7))), Ok(Verdict::Deliver));
}

#[test]
fn damage_in_what_would_be_left_out_is_reported() {
    let mut damaged = open(0, 7);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(aborted(&[(7, 0)]).decide(&only(&damaged)).is_err());
}
