//! A publisher of 1,000 events a second, each acknowledged by all replicas, and when it was.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use barnabas::broker::Cluster;
use barnabas::broker::settings::{BrokerSettings, HostPort};
use barnabas::produce::producer::{Outcome, Producer, ProducerSettings, Submit};
use barnabas::record::{BatchBuilder, BatchOptions, Compression, NewRecord};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::input;
use crate::tally::{now, write_times};

/// Between two events.
const EVERY: Duration = Duration::from_millis(1);
/// For an acknowledgement.
const LIMIT: Duration = Duration::from_secs(30);
/// That its events have.
const KEYS: u64 = 10_000;

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `HOST:PORT`.
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    pub(crate) partitions: i32,
    pub(crate) count: u64,
    /// Where the times of acknowledgement go, by the events' numbers.
    pub(crate) acks: PathBuf,
}

/// Publishes all and ends.
pub(crate) fn run(settings: &Settings) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let acks = runtime.block_on(publish(settings))?;
    write_times(&settings.acks, &acks).map_err(|error| error.to_string())
}

async fn publish(settings: &Settings) -> Result<Vec<u64>, String> {
    let producer = Producer::start(
        cluster(&settings.bootstrap)?,
        ProducerSettings {
            delivery_timeout: LIMIT,
            request_timeout: LIMIT,
            compression: Compression::default(),
        },
    );
    let count = usize::try_from(settings.count).map_err(|error| error.to_string())?;
    let mut acks = vec![0; count];
    let (reply, mut outcomes) = mpsc::unbounded_channel::<Outcome>();
    let (topic, mut next, mut acked) = (Arc::<str>::from(settings.topic.as_str()), 0, 0);
    let mut due = interval(EVERY);
    // What was late is made up for: the rate is that of the clock.
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while acked < count {
        tokio::select! {
            biased;
            Some(outcome) = outcomes.recv() => {
                outcome.result.map_err(|error| error.to_string())?;
                let index = usize::try_from(outcome.tag).map_err(|error| error.to_string())?;
                acks[index] = now();
                acked += 1;
            }
            _ = due.tick(), if next < settings.count => {
                let (partition, batch) = event(next, settings.partitions)?;
                let submit = Submit { topic: Arc::clone(&topic), partition, batch, tag: next, reply: reply.clone() };
                producer.submit(submit).await.map_err(|_| "the producer has ended")?;
                next += 1;
            }
        }
    }
    Ok(acks)
}

/// A batch of its own, and its partition.
fn event(number: u64, partitions: i32) -> Result<(i32, barnabas::record::SealedBatch), String> {
    let key = input::key(number, KEYS);
    let (id, data, name) = (
        input::id(number, Some(key)),
        input::data(number, Some(key)),
        format!("customer-{key:06}"),
    );
    let mut headers = vec![("ce_id", Some(id.as_bytes()))];
    headers.extend(input::ATTRIBUTES.map(|(name, value)| (name, Some(value.as_bytes()))));
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), *value))
        .collect();
    let mut batch = BatchBuilder::new(BatchOptions::default());
    let record = NewRecord {
        key: Some(name.as_bytes()),
        value: Some(data.as_bytes()),
        headers: &headers,
        timestamp: barnabas::clock::unix_millis(),
    };
    batch.append(&record).map_err(|error| error.to_string())?;
    let partition = i32::try_from(key).map_err(|error| error.to_string())? % partitions;
    Ok((partition, batch.seal()))
}

fn cluster(bootstrap: &str) -> Result<Cluster, String> {
    let (host, port) = bootstrap.rsplit_once(':').ok_or("HOST:PORT")?;
    Cluster::new(BrokerSettings {
        bootstrap: vec![HostPort {
            host: host.to_owned(),
            port: port.parse().map_err(|_| "HOST:PORT")?,
        }],
        client_id: "steady".to_owned(),
        timeout: LIMIT,
        request_timeout: LIMIT,
        connect_timeout: LIMIT,
        tls: None,
        sasl: None,
    })
    .map_err(|error| error.to_string())
}
