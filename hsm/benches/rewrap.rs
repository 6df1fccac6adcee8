//! How many data keys are re-wrapped each second through the pool, against the bare loop (unwrap, wrap, destroy) of one thread in this
//! process, and what signatures take meanwhile. Run by hand: `cargo bench -p hsm --bench rewrap`. Nothing asserts a time.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that cannot go on ends"
)]

#[expect(dead_code, reason = "the tests' tokens, of which a bench needs a part")]
#[path = "../tests/tokens/support.rs"]
mod support;
#[expect(dead_code, reason = "what the tests do, of which a bench needs a part")]
#[path = "../tests/tokens/wrapping.rs"]
mod wrapping;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use hsm::{KeyRef, KeySpec, Sign, Supervisor, WrapRef, WrappedDek};
use support::*;
use wrapping::*;

const COUNT: u32 = 1_000;
const BATCHES: u32 = 10;

/// Items a second without any of ours.
#[expect(
    unsafe_code,
    clippy::disallowed_methods,
    reason = "the bare library, in this process, reads its environment"
)]
fn bare(token: &Token, keys: [&WrapRef; 2], blobs: &[WrappedDek]) -> f64 {
    for (name, value) in &token.env {
        // SAFETY: the bench has one thread at this point.
        unsafe { std::env::set_var(name, value) };
    }
    let pkcs11 = Pkcs11::new(&token.module).unwrap();
    pkcs11
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap();
    let slot = pkcs11.get_slots_with_token().unwrap()[0];
    let session = pkcs11.open_ro_session(slot).unwrap();
    session
        .login(UserType::User, Some(&AuthPin::new(PIN.into())))
        .unwrap();
    let [from, to] = keys.map(|key| {
        let class = Attribute::Class(ObjectClass::SECRET_KEY);
        let id = Attribute::Id(key.cka_id.0.to_vec());
        session.find_objects(&[class, id]).unwrap()[0]
    });
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Sensitive(true),
        Attribute::Extractable(true),
    ];
    let began = Instant::now();
    for _ in 0..BATCHES {
        for blob in blobs {
            let key = session
                .unwrap_key(&Mechanism::AesKeyWrap, from, blob.as_bytes(), &template)
                .unwrap();
            session.wrap_key(&Mechanism::AesKeyWrap, to, key).unwrap();
            session.destroy_object(key).unwrap();
        }
    }
    let rate = f64::from(BATCHES * COUNT) / began.elapsed().as_secs_f64();
    drop(session);
    pkcs11.finalize().unwrap();
    rate
}

/// Items a second through the pool.
fn pooled(signer: &Supervisor, keys: (&Arc<WrapRef>, &Arc<WrapRef>), blobs: &[WrappedDek]) -> f64 {
    let began = Instant::now();
    for _ in 0..BATCHES {
        assert!(rewrapped(signer, keys, blobs).iter().all(Result::is_ok));
    }
    f64::from(BATCHES * COUNT) / began.elapsed().as_secs_f64()
}

/// Times of signatures at a steady rate, sorted, while `work` runs.
fn signing(signer: &Supervisor, key: &Arc<KeyRef>, work: impl FnOnce() + Send) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    let mut times = std::thread::scope(|scope| {
        let times = scope.spawn(|| {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let input = input_for(key.scheme, times.len() as u64);
                let began = Instant::now();
                signer.sign(key, &input, soon()).unwrap();
                times.push(began.elapsed());
                std::thread::sleep(Duration::from_millis(2));
            }
            times
        });
        work();
        stop.store(true, Ordering::Relaxed);
        times.join().unwrap()
    });
    times.sort();
    times
}

fn told(what: &str, times: &[Duration]) {
    let at = |part: usize| times[times.len() * part / 100];
    println!(
        "{what}: {} signatures, p50 {:?}, p99 {:?}",
        times.len(),
        at(50),
        at(99)
    );
}

fn main() {
    let token = Token::fresh();
    let executor = token.executor();
    let (old, new) = (new_wrap_key(&executor), new_wrap_key(&executor));
    let key = new_key(&executor, KeySpec::P256);
    let deks: Vec<[u8; 32]> = (0..COUNT).map(dek).collect();
    let blobs = wrapped(&executor, &old, &deks);
    drop(executor);
    let alone = bare(&token, [&old, &new], &blobs);
    println!("bare loop, unchecked: {alone:.0}/s");
    let signer = token.signer();
    rewrapped(&signer, (&old, &new), &blobs);
    println!(
        "pool, checked: {:.0}/s",
        pooled(&signer, (&old, &new), &blobs)
    );
    let quiet = signing(&signer, &key, || std::thread::sleep(Duration::from_secs(3)));
    told("signing alone", &quiet);
    let busy = signing(&signer, &key, || {
        println!(
            "pool, beside signing: {:.0}/s",
            pooled(&signer, (&old, &new), &blobs)
        );
    });
    told("signing beside re-wrapping", &busy);
}
