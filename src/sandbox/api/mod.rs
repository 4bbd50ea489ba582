//! Kafka's APIs, a file each: (cluster, request) → answer, where the request carries its time. Pure.
//!
//! [`APIS`] is the one table of what there is: ApiVersions tells of nothing else, and whatever is not in it closes the
//! connection, as with Kafka. No API has fields about authorisation that say anything: nobody is kept out.

pub(crate) mod add_offsets_to_txn;
pub(crate) mod add_partitions_to_txn;
pub(crate) mod alter_configs;
pub(crate) mod api_versions;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod end_txn;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;
pub(crate) mod txn_offset_commit;

use super::call::{Answer, Call};
use super::cluster::Cluster;
use super::code;
use super::log::Log;
use super::wire::Read;

/// An API that there is.
pub(crate) struct Api {
    pub(crate) key: i16,
    /// Kafka's name.
    pub(crate) name: &'static str,
    /// The lowest and the highest version.
    pub(crate) versions: (i16, i16),
    /// The first version with compact lengths and tagged fields.
    pub(crate) flexible: i16,
    pub(crate) answer: fn(&mut Cluster, &mut Call) -> Read<Answer>,
}

/// The key of the API that is answered in any version.
pub(crate) const API_VERSIONS: i16 = 18;
/// The first flexible version of an API that has none.
const NEVER: i16 = i16::MAX;
/// "Authorised operations" of a client that did not ask.
const NOT_ASKED: i32 = i32::MIN;

/// All there are, by key.
pub(crate) static APIS: &[Api] = &[
    produce::API,
    fetch::API,
    list_offsets::API,
    metadata::API,
    offset_commit::API,
    offset_fetch::API,
    find_coordinator::API,
    join_group::API,
    heartbeat::API,
    leave_group::API,
    sync_group::API,
    describe_groups::API,
    list_groups::API,
    api_versions::API,
    create_topics::API,
    delete_topics::API,
    delete_records::API,
    init_producer_id::API,
    offset_for_leader_epoch::API,
    add_partitions_to_txn::API,
    add_offsets_to_txn::API,
    end_txn::API,
    txn_offset_commit::API,
    describe_configs::API,
    alter_configs::API,
    create_partitions::API,
    delete_groups::API,
    incremental_alter_configs::API,
    offset_delete::API,
    describe_cluster::API,
];

/// An API by its key.
pub(crate) fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

/// Compares the leader epoch that a client knows, -1 for none, with the log's.
fn check_epoch(log: &Log, known: i32) -> Result<(), i16> {
    match known {
        ..0 => Ok(()),
        known if known < log.epoch() => Err(code::FENCED_LEADER_EPOCH),
        known if known > log.epoch() => Err(code::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}

/// An outcome as an error code and a message.
fn outcome(result: Result<(), (i16, String)>) -> (i16, Option<String>) {
    match result {
        Ok(()) => (code::NONE, None),
        Err((code, message)) => (code, Some(message)),
    }
}
