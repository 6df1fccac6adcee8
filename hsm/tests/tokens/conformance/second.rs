//! The whole suite once more on a second, independent token.

use std::path::PathBuf;
use std::process::Command;

#[test]
fn kryoptic_conforms_as_well() {
    if std::env::var_os("CHANCERY_TEST_MODULE").is_some() {
        return;
    }
    let target = PathBuf::from(env!("CARGO_BIN_EXE_hsm-worker"));
    let module = target
        .ancestors()
        .nth(2)
        .unwrap()
        .join("kryoptic/libkryoptic_pkcs11.so");
    if !module.is_file() {
        eprintln!("\n*** kryoptic is NOT TESTED: build it with hsm/tests/build-kryoptic.sh ***\n");
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .env("CHANCERY_TEST_MODULE", &module)
        .args(["conformance::", "--skip", "kryoptic_conforms_as_well"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eprintln!(
        "kryoptic: {}",
        text.lines()
            .rfind(|line| line.starts_with("test result"))
            .unwrap_or_default()
    );
}
