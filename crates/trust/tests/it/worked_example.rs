//! The bytes of docs/CEREMONY.md, "What is signed, byte by byte", made here and compared.

use std::io::Write as _;
use std::process::{Command, Stdio};

use trust::approval::ObjectionBody;
use trust::format::V1;
use trust::sshsig;
use trust::*;

use crate::support::{Custodian, name};

#[test]
fn the_bytes_of_the_worked_example_are_those_that_are_signed() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CEREMONY.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, section) = document
        .split_once("\n## What is signed, byte by byte\n")
        .unwrap();
    let section = section.split("\n## ").next().unwrap();
    let code: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect();
    let printed = |line: &str| assert!(code.contains(&line), "{line}\n{section}");

    let body = ObjectionBody {
        v: V1,
        request_digest: Sha256Digest::of(b"a request"),
        reason: "the token is another one".to_owned(),
    };
    let body = body.encode().unwrap();
    printed(std::str::from_utf8(&body).unwrap());
    let (service, environment) = (name("chancery"), name("production"));
    let namespace = Namespace::new(Purpose::Reject, &service, &environment);
    let file = dsse::pae(&namespace.to_string(), &body);
    printed(std::str::from_utf8(&file).unwrap());
    for said in [
        format!("body has {} bytes", body.len()),
        format!("has {} bytes, without an end of line", file.len()),
        Sha256Digest::of(&file).to_string(),
    ] {
        assert!(section.replace('\n', " ").contains(&said), "{said}");
    }
    let ada = Custodian::quick("ada");
    printed(ada.public.as_str());
    let signature = ada.sign(&namespace.to_string(), &file);
    for line in signature.lines() {
        printed(line);
    }
    let key = sshsig::verify(&signature, &namespace, &file).unwrap();
    assert_eq!(key, ada.public);

    // By the tool that custodians have.
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let signers = write("allowed_signers", &format!("ada {}\n", ada.public));
    let made = write("signature", &signature);
    let mut verify = Command::new("ssh-keygen");
    verify.args(["-Y", "verify", "-I", "ada", "-n", &namespace.to_string()]);
    verify.arg("-f").arg(signers).arg("-s").arg(made);
    let mut child = verify
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&file).unwrap();
    assert!(child.wait().unwrap().success());
}
