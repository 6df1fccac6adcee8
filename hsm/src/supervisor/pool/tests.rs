//! The decisions, without processes: slots whose sockets nobody reads.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver};

use super::*;
use crate::api::GenerateOrder;
use crate::api::PrivateTemplate;
use crate::error::Act;
use crate::frame::Call;
use crate::key::{CkaId, KeyRef, KeySpec, Scheme};
use crate::profile::Profile;

struct Rig {
    pool: Pool,
    now: Instant,
    _far_ends: Vec<UnixStream>,
}

fn rig(slots: usize, depth: usize, queue_limit: usize) -> Rig {
    let now = Instant::now();
    let limits = Limits {
        depth,
        ..Profile::named("generic").unwrap().limits()
    };
    let mut pool = Pool::new(queue_limit, limits, Duration::from_secs(10), None);
    pool.books.signing.number(&Arc::new(KeyRef {
        cka_id: CkaId([1; 16]),
        spki: Vec::new(),
        scheme: Scheme::EcdsaP256Sha256,
    }));
    let mut far_ends = Vec::new();
    for _ in 0..slots {
        let (near, far) = UnixStream::pair().unwrap();
        let mut slot = WorkerSlot::new(now);
        slot.link = Some(Arc::new(Link::new(near)));
        slot.phase = Phase::Ready;
        pool.slots.push(slot);
        far_ends.push(far);
    }
    Rig {
        pool,
        now,
        _far_ends: far_ends,
    }
}

type Told = Receiver<Result<Vec<u8>, Error>>;

impl Rig {
    fn act(&mut self, act: impl FnOnce(&mut Pool, Instant, &mut After)) {
        let mut after = After::default();
        act(&mut self.pool, self.now, &mut after);
        after.run();
    }

    fn sign(&mut self, millis: u64) -> Told {
        let (sender, told) = mpsc::channel();
        let reply = move |outcome: Result<crate::Signature, _>| {
            sender
                .send(outcome.map(crate::Signature::into_bytes))
                .unwrap();
        };
        let deadline = self.now + Duration::from_millis(millis);
        let task = Task::Sign {
            key: 0,
            input: vec![7; 32],
        };
        let job = Job::new(task, deadline, Waiter::Signature(Box::new(reply)));
        self.act(|pool, now, after| pool.admit(job, now, after));
        told
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.act(|pool, now, after| pool.expire(now, after));
        self.act(|pool, now, after| pool.revive(now, after));
    }

    fn in_flight(&self) -> Vec<usize> {
        self.pool.slots.iter().map(WorkerSlot::in_flight).collect()
    }
}

/// Frame ids are the serial over the slot; in these tests the first request of a slot is the first of both.
const FIRST: u64 = 1 << 16;

#[test]
fn work_goes_to_the_least_loaded_and_the_rest_waits_up_to_the_limit() {
    let mut rig = rig(2, 2, 3);
    let told: Vec<Told> = (0..8).map(|_| rig.sign(1000)).collect();
    assert_eq!(rig.in_flight(), [2, 2]);
    assert_eq!(rig.pool.queue.len(), 3);
    assert_eq!(
        told[7].try_recv().unwrap(),
        Err(Error::Overloaded { limit: 3 })
    );
    rig.act(|pool, now, after| {
        pool.settle(0, FIRST, Outcome::Signature(vec![1]), now, after);
        pool.dispatch(now, after);
    });
    assert_eq!(told[0].try_recv().unwrap(), Ok(vec![1]));
    assert_eq!((rig.in_flight(), rig.pool.queue.len()), (vec![2, 2], 2));
}

#[test]
fn a_permit_lives_with_the_work_and_not_with_the_caller() {
    let mut rig = rig(1, 1, 8);
    let told = rig.sign(10);
    rig.wait(11);
    assert_eq!(told.try_recv().unwrap(), Err(Error::DeadlineExceeded));
    assert_eq!(rig.in_flight(), [1], "the token is still at it");
    let next = rig.sign(1000);
    assert_eq!((rig.in_flight(), rig.pool.queue.len()), (vec![1], 1));
    rig.act(|pool, now, after| {
        pool.settle(0, FIRST, Outcome::Signature(vec![1]), now, after);
        pool.dispatch(now, after);
    });
    assert_eq!((rig.in_flight(), rig.pool.queue.len()), (vec![1], 0));
    assert!(told.try_recv().is_err(), "answered once");
    assert!(next.try_recv().is_err());
}

#[test]
fn a_dead_workers_signatures_are_made_elsewhere_and_in_order() {
    let mut rig = rig(2, 8, 8);
    let told: Vec<Told> = (0..4).map(|_| rig.sign(1000)).collect();
    rig.pool.slots[0].phase = Phase::Vacant { from: rig.now };
    rig.act(|pool, now, after| pool.lost(0, now, after));
    assert_eq!(rig.in_flight(), [0, 4]);
    assert!(
        told.iter().all(|told| told.try_recv().is_err()),
        "nobody is told"
    );
    assert_eq!(rig.pool.counters.resubmitted, 2);
}

#[test]
fn a_dead_workers_birth_is_a_question_and_never_repeated() {
    let mut rig = rig(2, 8, 8);
    let order = GenerateOrder {
        token_serial: String::new(),
        token_label: String::new(),
        cka_id: CkaId([9; 16]),
        label: "x".to_owned(),
        spec: KeySpec::P256,
        scheme: Scheme::EcdsaP256Sha256,
        template: PrivateTemplate::SIGNING,
    };
    let (sender, told) = mpsc::channel();
    let waiter = Waiter::Answer(Box::new(move |outcome| {
        sender.send(outcome.map(drop)).unwrap()
    }));
    let deadline = rig.now + Duration::from_secs(60);
    let job = Job::new(Task::Call(Call::Generate(order)), deadline, waiter);
    rig.act(|pool, now, after| pool.admit(job, now, after));
    rig.pool.slots[0].phase = Phase::Vacant { from: rig.now };
    rig.act(|pool, now, after| pool.lost(0, now, after));
    let unknown = Error::OutcomeUnknown {
        act: Act::Generate,
        cka_id: CkaId([9; 16]),
    };
    assert_eq!(told.try_recv().unwrap(), Err(unknown));
    assert_eq!(rig.in_flight(), [0, 0]);
}

#[test]
fn a_request_under_which_worker_after_worker_dies_is_given_up() {
    let mut rig = rig(1, 8, 8);
    let told = rig.sign(60_000);
    for _ in 0..8 {
        assert!(told.try_recv().is_err());
        let link = rig.pool.slots[0].link.clone();
        rig.pool.slots[0].phase = Phase::Vacant { from: rig.now };
        rig.act(|pool, now, after| pool.lost(0, now, after));
        rig.pool.slots[0].link = link;
        rig.pool.slots[0].phase = Phase::Ready;
        rig.act(|pool, now, after| pool.dispatch(now, after));
    }
    assert_eq!(told.try_recv().unwrap(), Err(Error::WorkerLost));
}

#[test]
fn a_silent_workers_requests_are_given_to_another_once() {
    let mut rig = rig(2, 8, 8);
    let told: Vec<Told> = (0..2).map(|_| rig.sign(60_000)).collect();
    let stall = rig.pool.limits.stall.as_millis() as u64;
    rig.wait(stall + 1);
    assert_eq!(
        rig.in_flight(),
        [1, 1],
        "both are silent: nobody would be better off"
    );
    rig.act(|pool, now, after| pool.settle(1, FIRST, Outcome::Signature(vec![2]), now, after));
    assert_eq!(told[1].try_recv().unwrap(), Ok(vec![2]));
    rig.wait(1);
    assert_eq!(
        rig.in_flight(),
        [1, 1],
        "the room in the silent one stays taken"
    );
    rig.act(|pool, now, after| pool.settle(1, 2 << 16, Outcome::Signature(vec![1]), now, after));
    assert_eq!(told[0].try_recv().unwrap(), Ok(vec![1]));
    rig.act(|pool, now, after| pool.settle(0, FIRST, Outcome::Signature(vec![1]), now, after));
    assert!(told[0].try_recv().is_err(), "a late answer is dropped");
    assert_eq!(rig.in_flight(), [0, 0]);
}

#[test]
fn passing_errors_are_tried_again_while_the_deadline_allows() {
    let mut rig = rig(1, 8, 8);
    let told = rig.sign(20);
    rig.act(|pool, now, after| {
        pool.settle(0, FIRST, Outcome::Error(Error::WorkerLost), now, after)
    });
    assert!(told.try_recv().is_err());
    rig.wait(6);
    assert_eq!(rig.in_flight(), [1]);
    rig.act(|pool, now, after| {
        pool.settle(0, 2 << 16, Outcome::Error(Error::WorkerLost), now, after)
    });
    rig.wait(11);
    rig.act(|pool, now, after| {
        pool.settle(0, 3 << 16, Outcome::Error(Error::WorkerLost), now, after)
    });
    assert_eq!(
        told.try_recv().unwrap(),
        Err(Error::WorkerLost),
        "no time for another pause"
    );

    let told = rig.sign(60_000);
    rig.act(|pool, now, after| {
        pool.settle(0, 4 << 16, Outcome::Error(Error::PinRejected), now, after)
    });
    assert_eq!(
        told.try_recv().unwrap(),
        Err(Error::PinRejected),
        "what a person must mend is told at once"
    );
}

#[test]
fn an_answer_for_another_process_of_the_same_place_is_dropped() {
    let mut rig = rig(1, 8, 8);
    let told = rig.sign(60_000);
    rig.act(|pool, now, after| pool.settle(0, 9 << 16, Outcome::Signature(vec![9]), now, after));
    rig.act(|pool, now, after| pool.settle(0, FIRST | 7, Outcome::Signature(vec![9]), now, after));
    assert!(told.try_recv().is_err());
    assert_eq!(rig.in_flight(), [1]);
}

#[test]
fn an_open_circuit_refuses_at_once_and_a_stopped_pool_says_why() {
    let mut rig = rig(1, 8, 8);
    rig.pool.circuit.open = true;
    let told = rig.sign(60_000);
    assert!(matches!(
        told.try_recv().unwrap(),
        Err(Error::CircuitOpen { .. })
    ));
    rig.pool.circuit.open = false;
    rig.pool.slots[0].phase = Phase::Vacant { from: rig.now };
    rig.pool.stopped = Some((Error::PinRejected, None, rig.now));
    let told = rig.sign(60_000);
    assert_eq!(told.try_recv().unwrap(), Err(Error::PinRejected));
}

type ToldItems = Receiver<Vec<Result<(), Error>>>;

fn rewrap(rig: &mut Rig, millis: u64) -> ToldItems {
    let (sender, told) = mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let reply: crate::WrapReply = Arc::new(move |_, items| {
        let items = items.into_iter().map(|item| item.map(drop)).collect();
        drop(sender.lock().unwrap().send(items));
    });
    let task = Task::Wrap {
        op: WrapOp::Rewrap,
        from: 0,
        to: 1,
        items: vec![7; 80].into(),
    };
    let waiter = Waiter::Items {
        reply,
        first: 0,
        count: 2,
    };
    let deadline = rig.now + Duration::from_millis(millis);
    let job = Job::new(task, deadline, waiter);
    rig.act(|pool, now, after| pool.admit(job, now, after));
    told
}

#[test]
fn rewrapping_goes_behind_signatures_and_never_twice_to_one_session() {
    let mut rig = rig(2, 2, 8);
    let told: Vec<ToldItems> = (0..6).map(|_| rewrap(&mut rig, 1000)).collect();
    assert_eq!(rig.in_flight(), [1, 1], "room is left for signatures");
    assert_eq!(rig.pool.background.len(), 4);
    let signed: Vec<Told> = (0..3).map(|_| rig.sign(1000)).collect();
    assert_eq!((rig.in_flight(), rig.pool.queue.len()), (vec![2, 2], 1));
    rig.act(|pool, now, after| {
        let done = Outcome::Items(vec![Ok(vec![1].into()), Ok(vec![2].into())]);
        pool.settle(0, FIRST, done, now, after);
        pool.dispatch(now, after);
    });
    assert_eq!(told[0].try_recv().unwrap(), [Ok(()), Ok(())]);
    assert_eq!(rig.pool.queue.len(), 0, "a signature took the room");
    assert_eq!(rig.pool.background.len(), 4);
    // The next has room, and half of the workers stay free of it while there are signatures.
    rig.act(|pool, now, after| {
        pool.settle(0, 2 << 16 | 1, Outcome::Signature(vec![1]), now, after);
        pool.dispatch(now, after);
    });
    assert_eq!(rig.pool.background.len(), 4);
    rig.now += FOREGROUND;
    rig.act(|pool, now, after| pool.dispatch(now, after));
    assert_eq!(rig.pool.background.len(), 3);
    assert_eq!(rig.pool.counters.rewraps, 2);
    drop(signed);
}

#[test]
fn rewrapping_has_a_share_where_signatures_always_wait() {
    let mut rig = rig(1, 2, 100);
    let signed: Vec<Told> = (0..50).map(|_| rig.sign(60_000)).collect();
    let told = rewrap(&mut rig, 60_000);
    assert_eq!(rig.pool.background.len(), 1);
    rig.now += BACKGROUND_SHARE * 2;
    rig.act(|pool, now, after| {
        pool.settle(0, FIRST, Outcome::Signature(vec![1]), now, after);
        pool.dispatch(now, after);
    });
    assert_eq!(rig.pool.background.len(), 0, "its turn came");
    assert_eq!(rig.pool.queue.len(), 48);
    assert!(told.try_recv().is_err());
    drop(signed);
}

#[test]
fn rewrapping_is_bounded_and_every_item_is_told_what_became_of_it() {
    let mut rig = rig(1, 2, 2);
    let told: Vec<ToldItems> = (0..4).map(|_| rewrap(&mut rig, 10)).collect();
    let limit = 2;
    let full = Error::Overloaded { limit };
    assert_eq!(told[3].try_recv().unwrap(), [Err(full.clone()), Err(full)]);
    // The worker dies: what it had is in front again, and goes to the next.
    rig.pool.slots[0].phase = Phase::Vacant { from: rig.now };
    rig.act(|pool, now, after| pool.lost(0, now, after));
    assert_eq!(rig.pool.background.len(), 3);
    assert!(!rig.pool.is_idle());
    rig.wait(11);
    for told in &told[..3] {
        let late = Error::DeadlineExceeded;
        assert_eq!(told.try_recv().unwrap(), [Err(late.clone()), Err(late)]);
    }
    assert!(rig.pool.is_idle());
}
