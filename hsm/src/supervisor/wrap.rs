//! Wrapping work on its way to the workers.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use zeroize::Zeroizing;

use super::Supervisor;
use super::job::{Job, Task, Waiter};
use super::pool::After;
use crate::error::Error;
use crate::wrap::{BATCH, Wrap, WrapOp, WrapRef, WrapReply, WrapWork};

/// Items of one request to a worker. A signature may wait behind one request, so it is some milliseconds at the most; each
/// request begins with a challenge for each key, so it is not one item.
pub const PART: usize = 8;

impl Supervisor {
    /// Cuts the items into parts; each is answered on its own.
    fn submit_parts(
        &self,
        op: WrapOp,
        (from, to): (&Arc<WrapRef>, &Arc<WrapRef>),
        items: &mut dyn Iterator<Item = &[u8]>,
        (deadline, reply): (Instant, &WrapReply),
    ) {
        let now = Instant::now();
        let mut after = After::default();
        let mut pool = self.shared().pool();
        let (from, to) = (
            pool.books.wrapping.number(from),
            pool.books.wrapping.number(to),
        );
        let mut first = 0;
        loop {
            let mut bytes = Zeroizing::new(Vec::with_capacity(PART * op.input_len()));
            let mut count = 0;
            for item in items.take(PART) {
                bytes.extend_from_slice(item);
                count += 1;
            }
            if count == 0 {
                break;
            }
            let task = Task::Wrap {
                op,
                from,
                to,
                items: bytes,
            };
            let waiter = Waiter::Items {
                reply: Arc::clone(reply),
                first,
                count,
            };
            pool.admit(Job::new(task, deadline, waiter), now, &mut after);
            first += count;
        }
        drop(pool);
        after.run();
    }
}

impl Wrap for Supervisor {
    fn submit_wrap(&self, work: WrapWork, deadline: Instant, reply: WrapReply) {
        let got = work.len();
        if got > BATCH {
            let limit = BATCH;
            let long = || Err(Error::BatchTooLong { limit, got });
            return reply(0, std::iter::repeat_with(long).take(got).collect());
        }
        let told = (deadline, &reply);
        match &work {
            WrapWork::Wrap { key, deks } => {
                let mut items = deks.iter().map(|dek| dek.as_bytes().as_slice());
                self.submit_parts(WrapOp::Wrap, (key, key), &mut items, told);
            }
            WrapWork::Unwrap { key, blobs } => {
                let mut items = blobs.iter().map(|blob| blob.as_bytes().as_slice());
                self.submit_parts(WrapOp::Unwrap, (key, key), &mut items, told);
            }
            WrapWork::Rewrap { from, to, blobs } => {
                let mut items = blobs.iter().map(|blob| blob.as_bytes().as_slice());
                self.submit_parts(WrapOp::Rewrap, (from, to), &mut items, told);
            }
        }
    }

    fn check_wrap(&self, key: &Arc<WrapRef>, deadline: Instant) -> Result<(), Error> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let answer: super::job::AnswerReply =
            Box::new(move |outcome| drop(sender.send(outcome.map(drop))));
        let now = Instant::now();
        let mut after = After::default();
        let mut pool = self.shared().pool();
        let number = pool.books.wrapping.number(key);
        let task = Task::Wrap {
            op: WrapOp::Check,
            from: number,
            to: number,
            items: Zeroizing::default(),
        };
        let job = Job::new(task, deadline, Waiter::Answer(answer));
        pool.admit(job, now, &mut after);
        drop(pool);
        after.run();
        receiver.recv().unwrap_or(Err(Error::Stopping))
    }
}
