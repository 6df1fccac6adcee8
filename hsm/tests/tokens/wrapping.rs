//! What tests do with wrapping keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use hsm::{
    Administer, Dek, DestroyWrapOrder, Error, GenerateWrapOrder, Supervisor, Wrap, WrapRef,
    WrapTemplate, WrapWork, WrappedDek,
};

use crate::support::*;

pub fn wrap_order(executor: &Supervisor, number: u32) -> GenerateWrapOrder {
    let token = executor.token().unwrap();
    GenerateWrapOrder {
        token_serial: token.serial,
        token_label: token.label,
        cka_id: new_id(),
        label: format!("chancery/test/kek/{number}"),
        template: WrapTemplate::WRAPPING,
        challenge: [number as u8; 32],
    }
}

pub fn new_wrap_key(executor: &Supervisor) -> Arc<WrapRef> {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let order = wrap_order(executor, NEXT.fetch_add(1, Ordering::Relaxed) as u32);
    let born = executor.generate_wrap(Permitted(order.clone())).unwrap();
    Arc::new(WrapRef {
        cka_id: order.cka_id,
        challenge: order.challenge,
        check_value: born.check_value,
    })
}

pub fn destroy_wrap_order(executor: &Supervisor, key: &WrapRef) -> DestroyWrapOrder {
    let token = executor.token().unwrap();
    DestroyWrapOrder {
        token_serial: token.serial,
        token_label: token.label,
        key: key.clone(),
    }
}

/// A data key; each seed has its own.
pub fn dek(seed: u32) -> [u8; 32] {
    let mut bytes = [0x11; 32];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    bytes
}

pub type Items = Vec<Result<Vec<u8>, Error>>;

/// Sends the work off; the receiver has all items in order when they are there.
pub fn submitted(
    supervisor: &Supervisor,
    work: WrapWork,
    deadline: Instant,
) -> mpsc::Receiver<Items> {
    let count = work.len();
    let (sender, done) = mpsc::channel();
    let all = std::sync::Mutex::new((vec![None; count], 0));
    let reply: hsm::WrapReply = Arc::new(move |first, items| {
        let mut all = all.lock().unwrap();
        for (index, item) in items.into_iter().enumerate() {
            let item = item.map(|bytes| bytes.to_vec());
            let before = all.0[first + index].replace(item);
            assert!(before.is_none(), "an item is answered once");
            all.1 += 1;
        }
        if all.1 == count {
            let done = all.0.drain(..).flatten().collect();
            drop(sender.send(done));
        }
    });
    supervisor.submit_wrap(work, deadline, reply);
    done
}

pub fn carried(supervisor: &Supervisor, work: WrapWork, deadline: Instant) -> Items {
    submitted(supervisor, work, deadline).recv().unwrap()
}

pub fn wrapped(supervisor: &Supervisor, key: &Arc<WrapRef>, deks: &[[u8; 32]]) -> Vec<WrappedDek> {
    let work = WrapWork::Wrap {
        key: key.clone(),
        deks: deks.iter().map(Dek::copy_of).collect(),
    };
    blobs(carried(supervisor, work, soon()))
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

fn blobs(items: Items) -> Vec<Result<WrappedDek, Error>> {
    let blob = |bytes: Vec<u8>| WrappedDek::from_slice(&bytes).unwrap();
    items.into_iter().map(|item| item.map(blob)).collect()
}

pub fn opened(
    supervisor: &Supervisor,
    key: &Arc<WrapRef>,
    blobs: &[WrappedDek],
) -> Vec<Result<[u8; 32], Error>> {
    let work = WrapWork::Unwrap {
        key: key.clone(),
        blobs: blobs.to_vec(),
    };
    let items = carried(supervisor, work, soon()).into_iter();
    items
        .map(|item| item.map(|bytes| bytes.try_into().unwrap()))
        .collect()
}

pub fn rewrap_work((from, to): (&Arc<WrapRef>, &Arc<WrapRef>), blobs: &[WrappedDek]) -> WrapWork {
    WrapWork::Rewrap {
        from: from.clone(),
        to: to.clone(),
        blobs: blobs.to_vec(),
    }
}

pub fn rewrapped(
    supervisor: &Supervisor,
    keys: (&Arc<WrapRef>, &Arc<WrapRef>),
    old: &[WrappedDek],
) -> Vec<Result<WrappedDek, Error>> {
    blobs(carried(supervisor, rewrap_work(keys, old), soon()))
}

pub fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
