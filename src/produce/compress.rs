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
