//! The bridge: `kafka-protocol`'s messages as rskafka requests, and the one table of API versions.

use std::io::Cursor;

use bytes::{Buf, Bytes};
use kafka_protocol::messages as kafka;
use kafka_protocol::protocol::{Decodable, Encodable, Request};
use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::messages::{
    ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType,
};
use rskafka::protocol::primitives::Int16;
use rskafka::protocol::traits::{ReadError, WriteError};

/// A request that barnabas can send: its key, and the versions it speaks.
///
/// Private to the bridge's table: a new API is one more line there.
pub trait Api: Request<Response: Send> + Send + Sync + 'static {
    /// For people, as Kafka names it.
    const NAME: &'static str;
    /// rskafka's name of the API key.
    const API: ApiKey;
    /// Lowest and highest version whose meaning the callers know.
    const SPOKEN: (i16, i16);
    /// First version with tagged fields in the request's header.
    const FLEXIBLE: i16;
    /// Likewise in the response's header; only ApiVersions differs.
    const FLEXIBLE_RESPONSE: i16 = Self::FLEXIBLE;
}

macro_rules! apis {
    ($($request:ident, $name:literal, $key:expr, $min:literal..=$max:literal, $flexible:literal $(, response $response:expr)?;)*) => {
        $(impl Api for kafka::$request {
            const NAME: &'static str = $name;
            const API: ApiKey = $key;
            const SPOKEN: (i16, i16) = ($min, $max);
            const FLEXIBLE: i16 = $flexible;
            $(const FLEXIBLE_RESPONSE: i16 = $response;)?
        })*
    };
}

// The ceilings: Produce 13 and Fetch 13 name topics by id, DeleteTopics 6 and OffsetCommit 10 likewise. FindCoordinator 4
// and OffsetFetch 8 ask for several groups, in other fields: one more shape of the request for nothing.
apis! {
    ProduceRequest, "Produce", ApiKey::Produce, 3..=12, 9;
    FetchRequest, "Fetch", ApiKey::Fetch, 4..=12, 12;
    ListOffsetsRequest, "ListOffsets", ApiKey::ListOffsets, 1..=8, 6;
    MetadataRequest, "Metadata", ApiKey::Metadata, 4..=12, 9;
    OffsetCommitRequest, "OffsetCommit", ApiKey::OffsetCommit, 2..=9, 8;
    OffsetFetchRequest, "OffsetFetch", ApiKey::OffsetFetch, 2..=7, 6;
    FindCoordinatorRequest, "FindCoordinator", ApiKey::FindCoordinator, 0..=3, 3;
    DescribeGroupsRequest, "DescribeGroups", ApiKey::DescribeGroups, 0..=5, 5;
    ListGroupsRequest, "ListGroups", ApiKey::ListGroups, 0..=5, 3;
    SaslHandshakeRequest, "SaslHandshake", ApiKey::SaslHandshake, 1..=1, 32767;
    ApiVersionsRequest, "ApiVersions", ApiKey::ApiVersions, 0..=3, 3, response 32767;
    CreateTopicsRequest, "CreateTopics", ApiKey::CreateTopics, 2..=7, 5;
    DeleteTopicsRequest, "DeleteTopics", ApiKey::DeleteTopics, 1..=5, 4;
    DeleteRecordsRequest, "DeleteRecords", ApiKey::DeleteRecords, 0..=2, 2;
    InitProducerIdRequest, "InitProducerId", ApiKey::InitProducerId, 0..=4, 2;
    OffsetForLeaderEpochRequest, "OffsetForLeaderEpoch", ApiKey::OffsetForLeaderEpoch, 2..=4, 4;
    DescribeConfigsRequest, "DescribeConfigs", ApiKey::DescribeConfigs, 1..=4, 4;
    SaslAuthenticateRequest, "SaslAuthenticate", ApiKey::SaslAuthenticate, 0..=2, 2;
    CreatePartitionsRequest, "CreatePartitions", ApiKey::CreatePartitions, 0..=3, 2;
    DeleteGroupsRequest, "DeleteGroups", ApiKey::DeleteGroups, 0..=2, 2;
    IncrementalAlterConfigsRequest, "IncrementalAlterConfigs", ApiKey::IncrementalAlterConfigs, 0..=1, 1;
}

/// A request of `kafka-protocol` in the clothes that rskafka's `Messenger` wants.
#[derive(Debug)]
pub(crate) struct Question<'a, T>(pub(crate) &'a T);

/// A response likewise.
#[derive(Debug)]
pub(crate) struct Answer<T>(pub(crate) T);

const fn version(version: i16) -> ApiVersion {
    ApiVersion(Int16(version))
}

impl<T: Api> RequestBody for Question<'_, T> {
    type ResponseBody = Answer<T::Response>;
    const API_KEY: ApiKey = T::API;
    const API_VERSION_RANGE: ApiVersionRange =
        ApiVersionRange::new(version(T::SPOKEN.0), version(T::SPOKEN.1));
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = version(T::FLEXIBLE);
    const FIRST_TAGGED_FIELD_IN_RESPONSE_VERSION: ApiVersion = version(T::FLEXIBLE_RESPONSE);
}

impl<T: Encodable> WriteVersionedType<Vec<u8>> for Question<'_, T> {
    fn write_versioned(&self, writer: &mut Vec<u8>, version: ApiVersion) -> Result<(), WriteVersionedError> {
        let malformed = |e: anyhow::Error| WriteVersionedError::WriteError(WriteError::Malformed(e.into()));
        let version = version.0.0;
        writer.reserve_exact(self.0.compute_size(version).map_err(malformed)?);
        self.0.encode(writer, version).map_err(malformed)
    }
}

impl<T: Decodable> ReadVersionedType<Cursor<Vec<u8>>> for Answer<T> {
    /// Takes the whole frame out of the cursor, so that record sets are slices of it.
    /// `Messenger` compares the position with the vector's (now empty) length: 0 means that all was read.
    fn read_versioned(reader: &mut Cursor<Vec<u8>>, version: ApiVersion) -> Result<Self, ReadVersionedError> {
        let malformed =
            |e: Box<dyn std::error::Error + Send + Sync>| ReadVersionedError::from(ReadError::Malformed(e));
        let start = usize::try_from(reader.position()).map_err(|e| malformed(e.into()))?;
        let mut frame = Bytes::from(std::mem::take(reader.get_mut()));
        if start > frame.len() {
            return Err(malformed("the response ends within its header".into()));
        }
        frame.advance(start);
        let message = T::decode(&mut frame, version.0.0).map_err(|e| malformed(e.into()))?;
        reader.set_position(frame.len() as u64);
        Ok(Self(message))
    }
}

/// A string of the protocol.
pub(crate) fn text(text: &str) -> kafka_protocol::protocol::StrBytes {
    kafka_protocol::protocol::StrBytes::from_string(text.to_owned())
}

/// A topic's name in the protocol.
pub(crate) fn topic_name(name: &str) -> kafka::TopicName {
    kafka::TopicName(text(name))
}
