//! Memory stays flat whatever happens.

use std::fs;
use std::process::Command;

use hsm::{KeySpec, Power, Sign, Supervisor};

use super::shim::Shimmed;
use crate::support::*;

/// Resident kilobytes of this process and of the workers.
fn resident(signer: &Supervisor) -> u64 {
    let of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap_or_default()
            .to_owned();
        line.split_whitespace()
            .nth(1)
            .and_then(|word| word.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let workers: u64 = signer
        .health()
        .processes
        .iter()
        .filter_map(|process| process.pid)
        .map(of)
        .sum();
    of(std::process::id()) + workers
}

/// Measured in a process of its own: the other tests of this binary have threads, and memory, in this one.
#[test]
fn memory_is_flat_after_a_thousand_faults() {
    const ALONE: &str = "CHANCERY_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "faults::memory::memory_is_flat_after_a_thousand_faults",
                "--nocapture",
            ])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        eprintln!(
            "{}",
            text.lines()
                .find(|line| line.starts_with("resident"))
                .unwrap_or_default()
        );
        assert!(output.status.success(), "{text}");
        return;
    }
    let shimmed = Shimmed::fresh();
    let key = new_key(&shimmed.token.executor(), KeySpec::P256);
    let mut config = shimmed.token.config();
    config.processes = Some(1);
    let signer = started(config, Power::Use);
    let faults = |count: u64| {
        for seed in 0..count {
            // KEY_FUNCTION_NOT_PERMITTED, a wrong signature, SESSION_HANDLE_INVALID.
            let fault = ["C_Sign rv 0x68", "C_Sign corrupt", "C_Sign rv 0xb3"][seed as usize % 3];
            shimmed.inject(fault);
            signer
                .sign(&key, &input_for(key.scheme, seed), within(4))
                .unwrap_err();
            shimmed.heal();
            assert_signs(&signer, &key, seed);
        }
    };
    faults(100);
    let before = resident(&signer);
    faults(1000);
    let after = resident(&signer);
    eprintln!("resident after 100 faults {before} KiB, after 1100 {after} KiB");
    assert!(after < before + 2048, "{before} KiB became {after} KiB");
}
