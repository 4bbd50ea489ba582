//! Handlers at work.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use tokio::sync::oneshot;

use super::{Deliverer, Letters, letters, now};
use crate::delivery::{self, Attempt, Start};
use crate::handler::{Answer, Delivery, Outcome, Sign};
use crate::record::OwnedRecord;

impl Deliverer {
    pub(super) fn start(&mut self, start: Start<Arc<OwnedRecord>>) {
        let Some(owned) = self.owned.get(&start.claim) else {
            return;
        };
        let body = start.body;
        let view = self.cluster.view();
        let delivery = Delivery {
            topic: Arc::clone(&owned.id.0),
            topic_id: view.topics.get(&*owned.id.0).map_or([0; 16], |topic| topic.id),
            partition: owned.id.1,
            offset: start.offset,
            group: Arc::clone(&self.settings.group),
            token: owned.token.number(),
            attempt: start.tries,
            deadline: std::time::Duration::from_millis(start.deadline.saturating_sub(self.acting.mono)),
            redelivered: start.redelivered,
            origin: owned.replays.then(|| Letters::origin(&body)).flatten(),
            record: body,
        };
        let (abort, aborted) = oneshot::channel();
        let attempt = start.attempt;
        self.aborts.insert(attempt, abort);
        let cancel = async {
            // Dropped when its attempt is over.
            if aborted.await.is_err() {
                std::future::pending().await
            }
        };
        let run = self.handler.run(delivery, cancel);
        self.running
            .push(Box::pin(run.map(move |answer| (attempt, answer))));
    }

    /// Tells the core of an answer, and of those that are there as well.
    pub(super) fn answered(&mut self, answered: (Attempt, Answer)) {
        let now = now();
        let mut next = Some(answered);
        while let Some((attempt, answer)) = next {
            self.aborts.remove(&attempt);
            self.gathering.note();
            if self.leaving.is_some() && answer.outcome == Outcome::Aborted {
                self.cut_off += 1;
            }
            let why = (answer.outcome != Outcome::Done).then(|| letters::why(&answer));
            self.core.outcome(now, attempt, outcome(answer.outcome), why);
            next = self.running.next().now_or_never().flatten();
        }
        self.note_work();
    }
}

fn outcome(outcome: Outcome) -> delivery::Outcome {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Outcome::Done | Outcome::Skip => delivery::Outcome::Done,
        Outcome::Retry { sign, after, pause } => delivery::Outcome::Retry {
            sign: match sign {
                Sign::Own => delivery::Sign::Own,
                Sign::Busy => delivery::Sign::Busy,
                Sign::Unavailable => delivery::Sign::Unavailable,
                Sign::Broken => delivery::Sign::Broken,
            },
            after: after.map(millis),
            pause: pause.map(millis),
        },
        Outcome::Lost { reaped } => delivery::Outcome::Lost { reaped },
        Outcome::Hold => delivery::Outcome::Hold,
        Outcome::Reject => delivery::Outcome::Reject,
        Outcome::Aborted => delivery::Outcome::Aborted,
    }
}
