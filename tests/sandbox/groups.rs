//! Groups by Kafka's classic protocol: joining in every version, rebalances, expiry, commits.

use std::net::SocketAddr;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponse;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::place::inside;
use crate::wire::{Client, text, topic};

const ILLEGAL_GENERATION: i16 = 22;
const UNKNOWN_MEMBER: i16 = 25;
const REBALANCE: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;

fn group() -> GroupId {
    GroupId(text("g"))
}

fn join(member: &StrBytes, session: i32) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"m"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_member_id(member.clone())
        .with_session_timeout_ms(session)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// A new member's id.
async fn id(client: &mut Client) -> StrBytes {
    let answer = client.ask(9, join(&text(""), 10_000)).await;
    assert_eq!(answer.error_code, MEMBER_ID_REQUIRED);
    answer.member_id
}

async fn sync(client: &mut Client, joined: &JoinGroupResponse) -> (i16, Bytes) {
    let leads = joined.leader == joined.member_id;
    let assign = |id: &StrBytes| {
        let plan = format!("for {id}");
        SyncGroupRequestAssignment::default()
            .with_member_id(id.clone())
            .with_assignment(plan.into())
    };
    let assignments = joined
        .members
        .iter()
        .filter(|_| leads)
        .map(|member| assign(&member.member_id))
        .collect();
    let request = SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assignments);
    let answer = client.ask(5, request).await;
    (answer.error_code, answer.assignment)
}

async fn heartbeat(client: &mut Client, joined: &JoinGroupResponse) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    client.ask(4, request).await.error_code
}

async fn commit(client: &mut Client, generation: i32, member: &StrBytes) -> i16 {
    let part = OffsetCommitRequestPartition::default().with_committed_offset(7);
    let one = OffsetCommitRequestTopic::default()
        .with_name(topic("t"))
        .with_partitions(vec![part]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(member.clone())
        .with_topics(vec![one]);
    client.ask(8, request).await.topics[0].partitions[0].error_code
}

async fn member(address: SocketAddr) -> (Client, StrBytes) {
    let mut client = Client::connect(address).await;
    let id = id(&mut client).await;
    (client, id)
}

#[tokio::test]
async fn a_member_joins_in_every_version() {
    let sandbox = inside(&[]).await;
    for version in 0..=9 {
        let mut client = Client::connect(sandbox.address()).await;
        let mut joined = client.ask(version, join(&text(""), 10_000)).await;
        if version >= 4 {
            assert_eq!(joined.error_code, MEMBER_ID_REQUIRED, "version {version}");
            joined = client.ask(version, join(&joined.member_id, 10_000)).await;
        }
        assert_eq!(joined.error_code, 0, "version {version}");
        assert_eq!(
            (joined.leader == joined.member_id, joined.members.len()),
            (true, 1)
        );
        assert_eq!(
            sync(&mut client, &joined).await,
            (0, format!("for {}", joined.member_id).into())
        );
        let leave = LeaveGroupRequest::default()
            .with_group_id(group())
            .with_member_id(joined.member_id);
        assert_eq!(client.ask(0, leave).await.error_code, 0);
    }
}

#[tokio::test]
async fn a_second_member_starts_a_rebalance_and_both_get_their_parts() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let (mut one, first) = member(sandbox.address()).await;
    let joined = one.ask(9, join(&first, 10_000)).await;
    assert_eq!(sync(&mut one, &joined).await.0, 0);
    assert_eq!(heartbeat(&mut one, &joined).await, 0);
    assert_eq!(commit(&mut one, joined.generation_id, &first).await, 0);
    assert_eq!(
        commit(&mut one, joined.generation_id - 1, &first).await,
        ILLEGAL_GENERATION
    );
    assert_eq!(commit(&mut one, -1, &text("")).await, UNKNOWN_MEMBER);

    let (mut two, second) = member(sandbox.address()).await;
    two.send(9, &join(&second, 10_000)).await;
    let mut asked = 0;
    while heartbeat(&mut one, &joined).await != REBALANCE {
        asked += 1;
        assert!(asked < 1000, "no rebalance begins");
    }
    let again = one.ask(9, join(&first, 10_000)).await;
    let other = two.receive::<JoinGroupRequest>(9).await.unwrap();
    assert_eq!(
        (again.generation_id, other.generation_id),
        (joined.generation_id + 1, joined.generation_id + 1)
    );
    assert_eq!(
        again.members.len() + other.members.len(),
        2,
        "only the leader learns of all"
    );
    let (a, b) = tokio::join!(sync(&mut one, &again), sync(&mut two, &other));
    assert_eq!(a, (0, format!("for {first}").into()));
    assert_eq!(b, (0, format!("for {second}").into()));
    let described = one
        .ask(5, DescribeGroupsRequest::default().with_groups(vec![group()]))
        .await;
    assert_eq!(described.groups[0].group_state, text("Stable"));
    assert_eq!(described.groups[0].members.len(), 2);
}

#[tokio::test]
async fn a_member_that_says_nothing_is_taken_for_dead() {
    let sandbox = inside(&[]).await;
    let (mut one, first) = member(sandbox.address()).await;
    let joined = one.ask(9, join(&first, 200)).await;
    assert_eq!(sync(&mut one, &joined).await.0, 0);
    // Another one joins, and has the group to itself when the first one's session is over.
    let (mut two, second) = member(sandbox.address()).await;
    let other = two.ask(9, join(&second, 10_000)).await;
    assert_eq!((other.error_code, other.members.len()), (0, 1));
    assert_eq!(heartbeat(&mut one, &joined).await, UNKNOWN_MEMBER);
}

#[tokio::test]
async fn a_group_without_members_takes_commits_from_anybody() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    assert_eq!(commit(&mut client, -1, &text("")).await, 0);
    assert_eq!(commit(&mut client, 5, &text("x")).await, UNKNOWN_MEMBER);
}
