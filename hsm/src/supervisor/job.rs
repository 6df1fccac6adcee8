//! One piece of work. It holds its own answer, so that whatever happens to workers and callers, it is answered exactly
//! once and its place in the queue is given back exactly once.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::api::{Given, Reply};
use crate::error::{Act, Class, Error};
use crate::frame::{Answer, Call, Item, KeyNumber};
use crate::key::{CkaId, Signature};
use crate::wrap::{WrapOp, WrapReply};

/// A request that was in flight when so many workers died is taken for the cause.
const DEATHS: u32 = 8;

pub enum Task {
    /// Input is kept until the answer: it may have to be sent again, to another worker.
    Sign { key: KeyNumber, input: Vec<u8> },
    /// Bind and sign a challenge, ahead of the first request.
    Prepare { key: KeyNumber },
    /// A signature of our own; nobody waits for it.
    Probe { key: Option<KeyNumber> },
    /// Items for one or two wrapping keys, one after the other.
    Wrap {
        op: WrapOp,
        from: KeyNumber,
        to: KeyNumber,
        items: Zeroizing<Vec<u8>>,
    },
    /// The executor's.
    Call(Call),
}

pub type AnswerReply = Box<dyn FnOnce(Result<Answer, Error>) + Send>;

/// Who waits for the outcome.
pub enum Waiter {
    Signature(Reply),
    Answer(AnswerReply),
    /// For a part of a batch: so many items from the first one on.
    Items {
        reply: WrapReply,
        first: usize,
        count: usize,
    },
    Nobody,
}

pub struct Job {
    pub task: Task,
    pub deadline: Instant,
    pub waiter: Waiter,
    /// Set when a worker is given it first.
    pub given: Option<Given>,
    /// Failed attempts, for the pause before the next.
    pub attempts: u32,
    /// Workers that died under it.
    pub deaths: u32,
    /// Given to a second worker because the first was silent. Once only: twice would multiply load in an overload.
    pub stolen: bool,
}

/// What came back for a job.
pub enum Outcome {
    Signature(Vec<u8>),
    Items(Vec<Item>),
    Answer(Answer),
    Error(Error),
}

impl Job {
    /// In a box: jobs move between queues, and are large.
    pub fn new(task: Task, deadline: Instant, waiter: Waiter) -> Box<Job> {
        Box::new(Job {
            task,
            deadline,
            waiter,
            given: None,
            attempts: 0,
            deaths: 0,
            stolen: false,
        })
    }

    /// Signing may be repeated: a second valid signature harms nobody. Changes of objects may not.
    pub fn repeatable(&self) -> bool {
        match &self.task {
            // Wrapping gives the same again, and session objects end with their worker.
            Task::Sign { .. } | Task::Prepare { .. } | Task::Wrap { .. } => true,
            Task::Call(call) => changed(call).is_none(),
            Task::Probe { .. } => false,
        }
    }

    /// Work that nobody's request waits for: it goes behind the others.
    pub fn is_background(&self) -> bool {
        matches!(
            self.task,
            Task::Wrap {
                op: WrapOp::Rewrap,
                ..
            }
        )
    }

    /// What it does to which key, where it changes the token.
    fn changes(&self) -> Option<(Act, CkaId)> {
        match &self.task {
            Task::Call(call) => changed(call),
            _ => None,
        }
    }

    /// Whether another attempt may succeed where this error came from.
    pub fn may_retry(&self, error: &Error) -> bool {
        let passing = matches!(
            error.class(),
            Class::Transient | Class::SessionLost | Class::LoginRequired
        );
        passing && self.repeatable() && !matches!(error, Error::DeadlineExceeded | Error::Stopping)
    }

    /// The pause before the next attempt: 5, 10, 20 … 160 ms.
    pub fn pause(&self) -> Duration {
        Duration::from_millis(5 << self.attempts.min(5))
    }

    /// The error of a job whose worker died, or `None` when it should be done again.
    pub fn after_death(&mut self) -> Option<Error> {
        self.deaths += 1;
        if let Some((act, cka_id)) = self.changes() {
            return Some(Error::OutcomeUnknown { act, cka_id });
        }
        (!self.repeatable() || self.deaths >= DEATHS).then_some(Error::WorkerLost)
    }

    /// What is told to a caller whose deadline passed while a worker had the job.
    pub fn overdue(&self) -> Error {
        match self.changes() {
            Some((act, cka_id)) => Error::OutcomeUnknown { act, cka_id },
            None => Error::DeadlineExceeded,
        }
    }
}

/// What a call does to which key on the token, if it changes the token at all.
pub fn changed(call: &Call) -> Option<(Act, CkaId)> {
    match call {
        Call::Generate(order) => Some((Act::Generate, order.cka_id)),
        Call::GenerateWrap(order) => Some((Act::Generate, order.cka_id)),
        Call::Destroy(order) => Some((Act::Destroy, order.cka_id)),
        Call::DestroyWrap(order) => Some((Act::Destroy, order.key.cka_id)),
        Call::RemovePublicHalf(_, cka_id) => Some((Act::Destroy, *cka_id)),
        Call::Find(_) | Call::List | Call::ReadBack(_) | Call::ReadBackWrap(..) | Call::Token => {
            None
        }
    }
}

impl Waiter {
    pub fn is_somebody(&self) -> bool {
        !matches!(self, Waiter::Nobody)
    }

    /// Outside the pool's lock, always: this runs the caller's code.
    pub fn tell(self, outcome: Outcome) {
        match (self, outcome) {
            (Waiter::Nobody, _) => {}
            (Waiter::Signature(reply), Outcome::Signature(bytes)) => reply(Ok(Signature(bytes))),
            (Waiter::Signature(reply), Outcome::Error(error)) => reply(Err(error)),
            (Waiter::Signature(reply), Outcome::Answer(_) | Outcome::Items(_)) => {
                reply(Err(Error::Protocol {
                    what: "no signature for a signing request".to_owned(),
                }));
            }
            (Waiter::Answer(reply), Outcome::Answer(answer)) => reply(Ok(answer)),
            (Waiter::Answer(reply), Outcome::Error(error)) => reply(Err(error)),
            // The keys showed themselves; there was nothing else to answer.
            (Waiter::Answer(reply), Outcome::Items(_)) => reply(Ok(Answer::Nothing)),
            (
                Waiter::Items {
                    reply,
                    first,
                    count,
                },
                outcome,
            ) => {
                let error = match outcome {
                    Outcome::Items(items) if items.len() == count => return reply(first, items),
                    Outcome::Error(error) => error,
                    Outcome::Items(_) | Outcome::Signature(_) | Outcome::Answer(_) => {
                        Error::Protocol {
                            what: "another number of items".to_owned(),
                        }
                    }
                };
                reply(first, (0..count).map(|_| Err(error.clone())).collect());
            }
            (Waiter::Answer(reply), Outcome::Signature(_)) => {
                reply(Err(Error::Protocol {
                    what: "an unexpected signature".to_owned(),
                }));
            }
        }
    }
}
