//! What the pool costs: CPU of the whole process tree for each P-256 signature, less the bare C_Sign and the bare
//! verification, measured in the same run, interleaved, five repetitions, medians. Run by hand:
//! `cargo bench -p hsm --bench pool`. Nothing asserts a time.

#[expect(dead_code, reason = "the tests' tokens, of which a bench needs a part")]
#[path = "../tests/tokens/support.rs"]
mod support;

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::time::Instant;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use hsm::{KeyRef, KeySpec, Power, Sign, Supervisor};
use support::*;

const COUNT: u64 = 20_000;

/// User and system time of a process with all its threads, in microseconds (clock ticks of 10 ms).
fn cpu(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<u64> = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse().ok())
        .collect();
    ticks.iter().sum::<u64>() * 10_000
}

/// One run: CPU and wall clock of each signature, in microseconds.
struct Run {
    cpu: f64,
    wall: f64,
}

fn raw(token: &Token, key: &KeyRef) -> Run {
    // The module is in this process here, and only here: a bench of one process has no others to disturb.
    for (name, value) in &token.env {
        // SAFETY: the bench has one thread at this point.
        unsafe { std::env::set_var(name, value) };
    }
    let library = Pkcs11::new(&token.module).unwrap();
    library
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap();
    let slot = library
        .get_slots_with_token()
        .unwrap()
        .into_iter()
        .find(|slot| library.get_token_info(*slot).unwrap().label() == token.label)
        .unwrap();
    let session = library.open_ro_session(slot).unwrap();
    session
        .login(UserType::User, Some(&AuthPin::new(PIN.into())))
        .unwrap();
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Id(key.cka_id.0.to_vec()),
    ];
    let handle = session.find_objects(&template).unwrap()[0];
    let run = measure(&[], || {
        for seed in 0..COUNT {
            session
                .sign(&Mechanism::Ecdsa, handle, &input_for(key.scheme, seed))
                .unwrap();
        }
    });
    drop(session);
    library.finalize().unwrap();
    run
}

fn verify(signer: &Supervisor, key: &Arc<KeyRef>) -> Run {
    use aws_lc_rs::digest::{Digest, SHA256};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
    let input = input_for(key.scheme, 1);
    let signature = signer.sign(key, &input, soon()).unwrap();
    let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.spki).unwrap();
    measure(&[], || {
        for _ in 0..COUNT {
            let digest = Digest::import_less_safe(&input, &SHA256).unwrap();
            parsed
                .verify_digest_sig(&digest, signature.as_ref())
                .unwrap();
        }
    })
}

/// So many requests in flight, each answer bringing the next request.
fn pool(signer: &Supervisor, key: &Arc<KeyRef>, in_flight: u64) -> Run {
    let pids: Vec<u32> = signer
        .health()
        .processes
        .iter()
        .filter_map(|process| process.pid)
        .collect();
    let (sender, receiver) = mpsc::sync_channel::<()>(1024);
    let submit = |sender: &SyncSender<()>, seed| {
        let sender = sender.clone();
        let reply = Box::new(move |outcome: Result<_, _>| {
            outcome.unwrap();
            sender.send(()).unwrap();
        });
        signer.submit(key, &input_for(key.scheme, seed), soon(), reply);
    };
    measure(&pids, || {
        for seed in 0..COUNT {
            if seed >= in_flight {
                receiver.recv().unwrap();
            }
            submit(&sender, seed);
        }
        (0..in_flight).for_each(|_| receiver.recv().unwrap());
    })
}

fn measure(others: &[u32], work: impl FnOnce()) -> Run {
    let all = || cpu(std::process::id()) + others.iter().map(|pid| cpu(*pid)).sum::<u64>();
    let (before, began) = (all(), Instant::now());
    work();
    let per = |total: f64| total / COUNT as f64;
    Run {
        cpu: per((all() - before) as f64),
        wall: per(began.elapsed().as_micros() as f64),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let token = Token::softhsm();
    let key = new_key(&token.executor(), KeySpec::P256);
    let mut rows: Vec<(&str, Vec<Run>)> = [
        "bare C_Sign",
        "bare verify",
        "pool, 1 in flight",
        "pool, 16 in flight",
        "pool, 64 in flight",
    ]
    .map(|name| (name, Vec::new()))
    .into();
    for _ in 0..5 {
        rows[0].1.push(raw(&token, &key));
        let signer = started(token.config(), Power::Use);
        signer.prepare(&key, soon()).unwrap();
        rows[1].1.push(verify(&signer, &key));
        for (row, in_flight) in [(2, 1), (3, 16), (4, 64)] {
            rows[row].1.push(pool(&signer, &key, in_flight));
        }
    }
    println!("P-256, SoftHSM, {COUNT} signatures, median of 5: microseconds for each");
    let cpu_of = |row: usize| median(rows[row].1.iter().map(|run| run.cpu).collect());
    let floor = cpu_of(0) + cpu_of(1);
    for (index, (name, runs)) in rows.iter().enumerate() {
        let wall = median(runs.iter().map(|run| run.wall).collect());
        let added = if index > 1 {
            format!("  added {:5.1}", cpu_of(index) - floor)
        } else {
            String::new()
        };
        println!(
            "{name:20} cpu {:6.1}  wall {wall:6.1}{added}",
            cpu_of(index)
        );
    }
}
