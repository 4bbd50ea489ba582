//! A cluster of fake brokers on loopback: four APIs, Kafka's sequence checks, and faults on dice.
//!
//! Deviations from Kafka: all brokers share one log per partition at once (nothing is ever lost by an election), a batch
//! is too large by its number of records, and there are no replicas.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use barnabas::broker::error::ResponseError as E;
use barnabas::broker::settings::{BrokerSettings, HostPort};
use barnabas::record::{Batches, DecodeBuffer};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, InitProducerIdResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes, decode_request_header_from_buffer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const TOPIC: &str = "t";
pub(crate) const PARTITIONS: usize = 3;
/// Records of a batch at which it is too large.
pub(crate) const MAX_RECORDS: i32 = 7;
const BROKERS: usize = 2;
/// Batches of a producer that Kafka remembers.
const REMEMBERED: usize = 5;

/// Which faults there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    /// How many happen before there are no more.
    pub(crate) count: u32,
    /// Chance of one, per request and per batch.
    pub(crate) chance: f64,
    /// Whether answers may be held up beyond the client's patience, so that a request is carried out after its repeat.
    pub(crate) stalls: bool,
}

#[derive(Default)]
struct Partition {
    leader: usize,
    epoch: i32,
    log: Vec<u64>,
    /// Producer id → first and last sequence, and the offset.
    producers: HashMap<i64, VecDeque<(i32, i32, i64)>>,
}

struct State {
    random: StdRng,
    faults: Faults,
    partitions: Vec<Partition>,
    next_producer: i64,
    ports: Vec<u16>,
    events: Vec<String>,
}

/// A handle to the cluster, which ends with the runtime.
#[derive(Clone)]
pub(crate) struct FakeCluster {
    state: Arc<Mutex<State>>,
}

/// What a connection does with a request as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Answer,
    BreakBefore,
    BreakAfter,
    Stall,
}

impl FakeCluster {
    pub(crate) async fn start(seed: u64, faults: Faults) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..BROKERS {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let ports = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        let state = State {
            random: StdRng::seed_from_u64(seed),
            faults,
            partitions: std::iter::repeat_with(Partition::default)
                .take(PARTITIONS)
                .collect(),
            next_producer: 1000,
            ports,
            events: Vec::new(),
        };
        let cluster = Self {
            state: Arc::new(Mutex::new(state)),
        };
        for (broker, listener) in listeners.into_iter().enumerate() {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let cluster = cluster.clone();
                    // A connection that breaks is the client's to notice.
                    tokio::spawn(async move { drop(cluster.serve(broker, stream).await) });
                }
            });
        }
        cluster
    }

    pub(crate) fn settings(&self) -> BrokerSettings {
        let ports = self.state.lock().unwrap().ports.clone();
        BrokerSettings {
            bootstrap: ports
                .iter()
                .map(|&port| HostPort {
                    host: "127.0.0.1".to_owned(),
                    port,
                })
                .collect(),
            client_id: "simulation".to_owned(),
            timeout: Duration::from_secs(10),
            request_timeout: Duration::from_millis(300),
            connect_timeout: Duration::from_secs(2),
            tls: None,
            sasl: None,
        }
    }

    pub(crate) fn log(&self, partition: usize) -> Vec<u64> {
        self.state.lock().unwrap().partitions[partition].log.clone()
    }

    pub(crate) fn events(&self) -> String {
        self.state.lock().unwrap().events.join("\n")
    }

    async fn serve(&self, broker: usize, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let length = stream.read_u32().await? as usize;
            let mut frame = vec![0; length];
            stream.read_exact(&mut frame).await?;
            let mut frame = Bytes::from(frame);
            let (api, version) = (peek(&frame, 0), peek(&frame, 2));
            let header = decode_request_header_from_buffer(&mut frame).unwrap();
            let api = ApiKey::try_from(api).unwrap();
            let fate = self.state.lock().unwrap().fate(api);
            match fate {
                Fate::BreakBefore => return Ok(()),
                // Longer than the client waits for an answer.
                Fate::Stall => tokio::time::sleep(Duration::from_millis(500)).await,
                Fate::Answer | Fate::BreakAfter => {}
            }
            let mut answer = BytesMut::from(&[0; 4][..]);
            ResponseHeader::default()
                .with_correlation_id(header.correlation_id)
                .encode(&mut answer, api.response_header_version(version))
                .unwrap();
            self.state
                .lock()
                .unwrap()
                .answer(broker, api, version, frame, &mut answer);
            if fate == Fate::BreakAfter {
                return Ok(());
            }
            let length = u32::try_from(answer.len() - 4).unwrap();
            answer[..4].copy_from_slice(&length.to_be_bytes());
            stream.write_all(&answer).await?;
        }
    }
}

fn peek(frame: &Bytes, at: usize) -> i16 {
    (&frame[at..at + 2]).get_i16()
}

impl State {
    fn is_fault(&mut self) -> bool {
        let fault = self.faults.count > 0 && self.random.gen_bool(self.faults.chance);
        self.faults.count -= u32::from(fault);
        fault
    }

    fn fate(&mut self, api: ApiKey) -> Fate {
        if api == ApiKey::ApiVersions || !self.is_fault() {
            return Fate::Answer;
        }
        let fate = match self.random.gen_range(0..3) {
            0 => Fate::BreakBefore,
            1 if self.faults.stalls => Fate::Stall,
            _ => Fate::BreakAfter,
        };
        self.events.push(format!("{api:?}: {fate:?}"));
        fate
    }

    fn answer(&mut self, broker: usize, api: ApiKey, version: i16, mut frame: Bytes, answer: &mut BytesMut) {
        match api {
            ApiKey::ApiVersions => versions().encode(answer, version),
            ApiKey::Metadata => {
                MetadataRequest::decode(&mut frame, version).unwrap();
                self.metadata().encode(answer, version)
            }
            ApiKey::InitProducerId => {
                let code = if self.is_fault() {
                    E::CoordinatorLoadInProgress.code()
                } else {
                    0
                };
                self.next_producer += 1;
                InitProducerIdResponse::default()
                    .with_error_code(code)
                    .with_producer_id(self.next_producer.into())
                    .with_producer_epoch(0)
                    .encode(answer, version)
            }
            ApiKey::Produce => {
                let request = ProduceRequest::decode(&mut frame, version).unwrap();
                self.produce(broker, &request).encode(answer, version)
            }
            other => panic!("{other:?} is not spoken here"),
        }
        .unwrap();
    }

    fn metadata(&mut self) -> MetadataResponse {
        let brokers = (0..).zip(&self.ports).map(|(id, &port)| {
            MetadataResponseBroker::default()
                .with_node_id(i32::into(id))
                .with_host(StrBytes::from_static_str("127.0.0.1"))
                .with_port(port.into())
        });
        let brokers = brokers.collect();
        let mut partitions = Vec::new();
        for index in 0..PARTITIONS {
            let leaderless = self.is_fault();
            let partition = &self.partitions[index];
            let leader = if leaderless {
                -1
            } else {
                i32::try_from(partition.leader).unwrap()
            };
            partitions.push(
                MetadataResponsePartition::default()
                    .with_partition_index(i32::try_from(index).unwrap())
                    .with_leader_id(leader.into())
                    .with_leader_epoch(partition.epoch),
            );
        }
        let topic = MetadataResponseTopic::default()
            .with_name(Some(kafka_protocol::messages::TopicName(
                StrBytes::from_static_str(TOPIC),
            )))
            .with_partitions(partitions);
        MetadataResponse::default()
            .with_brokers(brokers)
            .with_controller_id(0.into())
            .with_topics(vec![topic])
    }

    fn produce(&mut self, broker: usize, request: &ProduceRequest) -> ProduceResponse {
        assert_eq!(request.acks, -1);
        let mut responses = Vec::new();
        for topic in &request.topic_data {
            let mut partitions = Vec::new();
            for data in &topic.partition_data {
                let set = data.records.as_ref().unwrap();
                let (code, offset) = self.append(broker, usize::try_from(data.index).unwrap(), set);
                partitions.push(
                    PartitionProduceResponse::default()
                        .with_index(data.index)
                        .with_error_code(code.map_or(0, |code| code.code()))
                        .with_base_offset(offset),
                );
            }
            responses.push(
                TopicProduceResponse::default()
                    .with_name(topic.name.clone())
                    .with_partition_responses(partitions),
            );
        }
        ProduceResponse::default().with_responses(responses)
    }

    /// Kafka's order of checks: leader, size, sequence.
    fn append(&mut self, broker: usize, index: usize, set: &[u8]) -> (Option<E>, i64) {
        let fault = self.is_fault().then(|| self.random.gen_range(0..6));
        let partition = &mut self.partitions[index];
        if fault == Some(0) {
            partition.leader = (partition.leader + 1) % BROKERS;
            partition.epoch += 1;
        }
        if partition.leader != broker {
            self.events
                .push(format!("partition {index}: broker {broker} does not lead"));
            return (Some(E::NotLeaderOrFollower), -1);
        }
        let before = match fault {
            Some(1) => Some(E::NotEnoughReplicas),
            Some(2) => Some(E::LeaderNotAvailable),
            _ => None,
        };
        if let Some(code) = before {
            self.events.push(format!("partition {index}: {code:?}"));
            return (Some(code), -1);
        }
        let batches: Vec<_> = Batches::new(set).collect();
        let [batch] = batches[..] else {
            panic!("not one batch")
        };
        let header = batch.header;
        if header.count > MAX_RECORDS {
            return (Some(E::MessageTooLarge), -1);
        }
        let (first, last) = (header.base_sequence, header.base_sequence + header.count - 1);
        let producers = partition.producers.entry(header.producer_id).or_default();
        let what = format!(
            "partition {index}: producer {} {first}..={last}",
            header.producer_id
        );
        if let Some((.., offset)) = producers.iter().find(|known| (known.0, known.1) == (first, last)) {
            self.events.push(format!("{what} is a repeat"));
            return (None, *offset);
        }
        // A producer that is not known may begin anywhere.
        if let Some((_, known, _)) = producers.back()
            && known + 1 != first
        {
            self.events.push(format!("{what} comes after {known}"));
            return (Some(E::OutOfOrderSequenceNumber), -1);
        }
        let offset = i64::try_from(partition.log.len()).unwrap();
        producers.push_back((first, last, offset));
        if producers.len() > REMEMBERED {
            producers.pop_front();
        }
        let mut buffer = DecodeBuffer::new();
        for record in batch.records(&mut buffer).unwrap() {
            let mut value = record.unwrap().value.unwrap();
            partition.log.push(value.get_u64());
        }
        let after = match fault {
            Some(3) => Some(E::RequestTimedOut),
            Some(4) => Some(E::NotEnoughReplicasAfterAppend),
            Some(5) => Some(E::KafkaStorageError),
            _ => None,
        };
        self.events
            .push(format!("{what} is written at {offset}: {after:?}"));
        (after, offset)
    }
}

fn versions() -> ApiVersionsResponse {
    let spoken = [
        (ApiKey::Produce, 3, 9),
        (ApiKey::Metadata, 4, 9),
        (ApiKey::ApiVersions, 0, 3),
        (ApiKey::InitProducerId, 0, 4),
    ];
    let keys = spoken.map(|(api, min, max)| {
        ApiVersion::default()
            .with_api_key(api as i16)
            .with_min_version(min)
            .with_max_version(max)
    });
    ApiVersionsResponse::default().with_api_keys(keys.to_vec())
}
