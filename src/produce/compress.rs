//! Threads that compress batches, as many as there are cores, each with encoder tables of its own
//! (which are large, worth keeping, and cannot move between threads).

use std::sync::mpsc as std_mpsc;

use tokio::sync::mpsc;

use crate::record::{CompressError, Compressor, SealedBatch};

/// A batch to compress; `id` comes back with it.
pub(crate) struct Job<I> {
    pub(crate) id: I,
    pub(crate) batch: SealedBatch,
}

/// A compressed batch, without a producer's numbers.
pub(crate) struct Compressed<I> {
    pub(crate) id: I,
    pub(crate) result: Result<Vec<u8>, CompressError>,
    /// The uncompressed buffer, to be used again.
    pub(crate) spare: Option<Vec<u8>>,
    worker: usize,
}

/// The threads. They end with the pool.
pub(crate) struct Pool<I> {
    threads: Vec<std_mpsc::Sender<Job<I>>>,
    idle: Vec<usize>,
    /// No more threads than this.
    limit: usize,
    done: mpsc::UnboundedSender<Compressed<I>>,
    results: mpsc::UnboundedReceiver<Compressed<I>>,
}

impl<I: Send + 'static> Pool<I> {
    /// No threads yet: the first job starts the first one.
    pub(crate) fn new() -> Self {
        // Unbounded, but each thread has one job at a time.
        let (done, results) = mpsc::unbounded_channel();
        let limit = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: Vec::new(),
            idle: Vec::new(),
            limit,
            done,
            results,
        }
    }

    /// Starts a job; gives it back while all threads are busy.
    pub(crate) fn start(&mut self, job: Job<I>) -> Result<(), Job<I>> {
        let worker = match self.idle.pop() {
            Some(worker) => worker,
            None if self.threads.len() < self.limit => match self.spawn() {
                Some(worker) => worker,
                None => return Err(job),
            },
            None => return Err(job),
        };
        self.threads[worker].send(job).map_err(|e| e.0)
    }

    /// The next batch that is done.
    pub(crate) async fn next(&mut self) -> Option<Compressed<I>> {
        let done = self.results.recv().await?;
        self.idle.push(done.worker);
        Some(done)
    }

    fn spawn(&mut self) -> Option<usize> {
        let (jobs, inbox) = std_mpsc::channel::<Job<I>>();
        let done = self.done.clone();
        let worker = self.threads.len();
        let thread = std::thread::Builder::new().name(format!("compress-{worker}"));
        let spawned = thread.spawn(move || {
            let mut compressor = Compressor::new();
            while let Ok(Job { id, batch }) = inbox.recv() {
                let result = batch.finish(-1, -1, -1, &mut compressor);
                let spare = compressor.take_spare();
                if done
                    .send(Compressed {
                        id,
                        result,
                        spare,
                        worker,
                    })
                    .is_err()
                {
                    return;
                }
            }
        });
        match spawned {
            Ok(_) => {
                self.threads.push(jobs);
                Some(worker)
            }
            Err(e) => {
                tracing::warn!("cannot start a thread for compression: {e}");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchOptions, Batches, Codec, Compression, DecodeBuffer, NewRecord};

    fn job(id: u64) -> Job<u64> {
        let compression = Compression::new(Codec::Lz4, None).unwrap();
        let mut builder = BatchBuilder::new(BatchOptions {
            compression,
            ..BatchOptions::default()
        });
        let value = id.to_be_bytes();
        builder
            .append(&NewRecord {
                value: Some(&value),
                ..NewRecord::default()
            })
            .unwrap();
        Job {
            id,
            batch: builder.seal(),
        }
    }

    #[test]
    fn each_job_comes_back_compressed_under_its_id_and_there_are_no_more_threads_than_the_limit() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut pool = Pool::new();
            let mut waiting: Vec<Job<u64>> = (0..50).rev().map(job).collect();
            let mut seen = Vec::new();
            while seen.len() < 50 {
                while let Some(next) = waiting.pop() {
                    if let Err(back) = pool.start(next) {
                        waiting.push(back);
                        break;
                    }
                }
                assert!(pool.threads.len() <= pool.limit);
                let done = pool.next().await.unwrap();
                let bytes = done.result.unwrap();
                let mut buffer = DecodeBuffer::new();
                for batch in Batches::new(&bytes) {
                    for record in batch.records(&mut buffer).unwrap() {
                        assert_eq!(record.unwrap().value, Some(&done.id.to_be_bytes()[..]));
                    }
                }
                seen.push(done.id);
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..50).collect::<Vec<_>>());
            assert_eq!(pool.idle.len(), pool.threads.len());
        });
    }
}
