//! Tests of what is pure, over generated records and headers.

mod envelopes;
mod families;
mod ledgers;

use super::envelope::{Failed, Reason};
use super::*;

/// A record that failed.
pub(super) fn failed() -> Failed<'static> {
    Failed {
        group: "billing",
        topic: "orders",
        topic_id: [7; 16],
        partition: 3,
        offset: 1234,
        last_offset: None,
        timestamp: 1_700_000_000_000,
        append_time: false,
        key: Some(b"key"),
        value: Some(b"value"),
        headers: &[],
        reason: Reason::Rejected,
        deliveries: 1,
        message: "422: no such customer",
        status: Some("422"),
        first_failed: Some(1_700_000_001_000),
        last_failed: Some(1_700_000_002_000),
        replays: 0,
    }
}

#[test]
fn topic_and_group_are_found_in_the_name() {
    assert_eq!(split_dead("orders.dlq.billing"), Some(("orders", "billing")));
    assert_eq!(split_replay("a.b.replay.c.d"), Some(("a.b", "c.d")));
    assert_eq!(
        split_dead(&dead_topic(&dead_topic("orders", "billing"), "mail")),
        Some(("orders.dlq.billing", "mail"))
    );
    for other in ["orders", ".dlq.billing", "orders.dlq.", "orders-dlq-billing"] {
        assert_eq!(split_dead(other), None, "{other}");
    }
}

#[test]
fn a_group_never_consumes_its_own_topics_by_a_pattern() {
    assert!(is_of_group(&dead_topic("orders", "g"), "g"));
    assert!(is_of_group(&replay_topic("orders", "g"), "g"));
    assert!(!is_of_group(&dead_topic("orders", "g"), "h"));
    assert!(!is_of_group("orders", "g"));
}
