//! The producer against brokers that fail: every record exactly once, in order per partition.

use std::sync::Arc;
use std::time::Duration;

use barnabas::broker::cluster::Cluster;
use barnabas::broker::error::Error;
use barnabas::produce::producer::{Outcome, Producer, ProducerSettings, Submit};
use barnabas::record::{BatchBuilder, BatchOptions, Codec, Compression, NewRecord};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;

use crate::broker::{FakeCluster, Faults, MAX_RECORDS, PARTITIONS, TOPIC};

/// Batches per run.
const BATCHES: u64 = 60;
/// A run takes a few seconds of retries; one that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A batch that was submitted: its partition and the numbers of its records.
type Sent = (usize, Vec<u64>);

#[derive(Default)]
struct Fates {
    acknowledged: Vec<Vec<u64>>,
    /// Given up, and perhaps written.
    lost: Vec<u64>,
    unwritten: Vec<Vec<u64>>,
}

struct Plan {
    seed: u64,
    faults: Faults,
    delivery_timeout: Duration,
}

/// Publishes, and returns what was submitted per partition and what was told of it.
async fn publish(cluster: &FakeCluster, plan: &Plan) -> (Vec<u64>, Fates) {
    let mut random = StdRng::seed_from_u64(plan.seed ^ 0x5eed);
    let codec = [Codec::None, Codec::Lz4][usize::from(plan.seed % 2 == 1)];
    let compression = Compression::new(codec, None).unwrap();
    let settings = cluster.settings();
    let producer_settings = ProducerSettings {
        delivery_timeout: plan.delivery_timeout,
        request_timeout: settings.request_timeout,
        compression,
    };
    let brokers = Cluster::new(settings).unwrap();
    let producer = Producer::start(brokers, producer_settings);
    let (reply, mut outcomes) = mpsc::unbounded_channel();
    let topic: Arc<str> = Arc::from(TOPIC);
    let mut next = vec![0; PARTITIONS];
    let mut sent: Vec<Sent> = Vec::new();
    for tag in 0..BATCHES {
        let partition = random.gen_range(0..PARTITIONS);
        // Some are too large and have to be divided.
        let first: u64 = next[partition];
        let records: Vec<u64> =
            (first..first + random.gen_range(1..=2 * MAX_RECORDS.unsigned_abs() as u64)).collect();
        next[partition] += records.len() as u64;
        let mut batch = BatchBuilder::new(BatchOptions {
            compression,
            ..BatchOptions::default()
        });
        for number in &records {
            let value = number.to_be_bytes();
            batch
                .append(&NewRecord {
                    value: Some(&value),
                    ..NewRecord::default()
                })
                .unwrap();
        }
        sent.push((partition, records));
        producer
            .submit(Submit {
                topic: Arc::clone(&topic),
                partition: i32::try_from(partition).unwrap(),
                batch: batch.seal(),
                tag,
                reply: reply.clone(),
            })
            .await
            .unwrap();
        if random.gen_bool(0.3) {
            tokio::time::sleep(Duration::from_millis(random.gen_range(1..40))).await;
        }
    }
    drop((producer, reply));
    let mut fates = Fates {
        acknowledged: vec![Vec::new(); PARTITIONS],
        unwritten: vec![Vec::new(); PARTITIONS],
        ..Fates::default()
    };
    while let Some(Outcome {
        tag, records, result, ..
    }) = outcomes.recv().await
    {
        let (partition, numbers) = &sent[usize::try_from(tag).unwrap()];
        let part = &numbers[records.start as usize..records.end as usize];
        match result {
            Ok(_) => fates.acknowledged[*partition].extend(part),
            Err(Error::NotAcknowledged {
                maybe_written: false, ..
            }) => fates.unwritten[*partition].extend(part),
            Err(Error::NotAcknowledged { .. }) => fates.lost.extend(part),
            Err(error) => panic!("seed {}: {error}", plan.seed),
        }
    }
    (next, fates)
}

/// Returns what is wrong.
async fn run(plan: &Plan) -> Result<(), String> {
    let cluster = FakeCluster::start(plan.seed, plan.faults).await;
    let fail = |what: String| Err(format!("seed {}: {what}\n{}", plan.seed, cluster.events()));
    let Ok((submitted, mut fates)) = tokio::time::timeout(LIMIT, publish(&cluster, plan)).await else {
        return fail("does not end".to_owned());
    };
    let given_up = fates.lost.len() + fates.unwritten.iter().flatten().count();
    let mut told = given_up;
    for (partition, &submitted) in submitted.iter().enumerate() {
        let log = cluster.log(partition);
        if !log.is_sorted_by(|a, b| a < b) {
            return fail(format!("partition {partition} is doubled or reordered: {log:?}"));
        }
        let acknowledged = &mut fates.acknowledged[partition];
        told += acknowledged.len();
        acknowledged.sort_unstable();
        if !acknowledged.is_sorted_by(|a, b| a < b) {
            return fail(format!("partition {partition}: acknowledged twice"));
        }
        if let Some(lost) = acknowledged
            .iter()
            .find(|record| log.binary_search(record).is_err())
        {
            return fail(format!(
                "partition {partition}: {lost} was acknowledged and is lost"
            ));
        }
        if let Some(written) = fates.unwritten[partition]
            .iter()
            .find(|record| log.binary_search(record).is_ok())
        {
            return fail(format!(
                "partition {partition}: {written} is written and was denied"
            ));
        }
        if given_up == 0 && log.len() as u64 != submitted {
            return fail(format!("partition {partition}: {} of {}", log.len(), submitted));
        }
    }
    if told as u64 != submitted.iter().sum::<u64>() {
        return fail(format!(
            "{told} of {} records have a fate",
            submitted.iter().sum::<u64>()
        ));
    }
    if plan.delivery_timeout > LIMIT && given_up > 0 {
        return fail(format!("{given_up} records were given up"));
    }
    Ok(())
}

/// All at once: they mostly wait.
fn run_all(plans: impl IntoIterator<Item = Plan>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let failures: Vec<String> = runtime.block_on(async {
        let mut runs = tokio::task::JoinSet::new();
        for plan in plans {
            runs.spawn(async move { run(&plan).await });
        }
        let done = runs.join_all().await;
        done.into_iter().filter_map(Result::err).collect()
    });
    if let Some(first) = failures.first() {
        panic!("{} seeds fail, for one {first}", failures.len());
    }
}

#[test]
fn without_faults_everything_arrives() {
    let faults = Faults {
        count: 0,
        chance: 0.0,
        stalls: false,
    };
    let delivery_timeout = Duration::from_secs(120);
    run_all((0..4).map(|seed| Plan {
        seed,
        faults,
        delivery_timeout,
    }));
}

#[test]
fn every_record_arrives_once_and_in_order_whatever_fails() {
    let delivery_timeout = Duration::from_secs(120);
    run_all((0..48).map(|seed| Plan {
        seed,
        faults: Faults {
            count: 30,
            chance: 0.15,
            stalls: seed % 3 == 0,
        },
        delivery_timeout,
    }));
}

#[test]
fn what_is_given_up_is_neither_acknowledged_nor_doubled() {
    run_all((100..148).map(|seed| Plan {
        seed,
        faults: Faults {
            count: 200,
            chance: 0.4,
            // A request that is carried out after its batch was given up cannot be told from one that never is.
            stalls: false,
        },
        delivery_timeout: Duration::from_millis(400),
    }));
}
