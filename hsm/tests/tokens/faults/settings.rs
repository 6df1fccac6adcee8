//! Settings that cannot work are said so, in words that help.

use std::path::PathBuf;

use hsm::{Administer, Class, Error, KeySpec, Power, State, Supervisor};

use crate::support::*;

#[test]
fn a_module_that_is_not_there_stops_with_its_path() {
    let mut token = Token::softhsm();
    token.module = PathBuf::from("/no/such/module.so");
    let signer = Supervisor::start(token.config(), Power::Use).unwrap();
    let error = signer.wait_ready(soon()).unwrap_err();
    assert!(
        matches!(&error, Error::Module { path, .. } if path == &token.module),
        "{error}"
    );
    assert_eq!(error.class(), Class::Misconfigured);
    assert_eq!(signer.health().state, State::Stopped { error });
}

#[test]
fn a_worker_that_cannot_be_started_is_said_so() {
    let token = Token::softhsm();
    let mut config = token.config();
    config.worker_exe = PathBuf::from("/no/such/program");
    let signer = Supervisor::start(config, Power::Use).unwrap();
    let error = signer.wait_ready(within(500)).unwrap_err();
    assert!(matches!(error, Error::WorkerStart { .. }), "{error}");
}

#[test]
fn a_program_that_is_no_worker_is_left_alone_ever_longer() {
    let token = Token::softhsm();
    let mut config = token.config();
    config.worker_exe = PathBuf::from("/bin/true");
    let signer = Supervisor::start(config, Power::Use).unwrap();
    signer.wait_ready(within(1000)).unwrap_err();
    let started = signer.health().counters.processes_started;
    assert!(
        (2..12).contains(&started),
        "started {started} times in a second"
    );
}

#[test]
fn profiles_that_do_not_exist_or_have_no_library_are_refused_at_once() {
    let token = Token::softhsm();
    for name in ["no-such-profile", "azure-mhsm"] {
        let mut config = token.config();
        config.profile = Some(name.to_owned());
        let error = Supervisor::start(config, Power::Use).map(drop).unwrap_err();
        assert!(
            matches!(&error, Error::Profile { name: said, .. } if said == name),
            "{error}"
        );
    }
    let names: Vec<String> = hsm::profiles()
        .into_iter()
        .map(|notes| notes.name)
        .collect();
    for name in [
        "softhsm",
        "kryoptic",
        "luna",
        "azure-mhsm",
        "azure-tls-offload",
        "azure-cloud-hsm",
        "aws-cloudhsm",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
}

#[test]
fn a_profile_given_by_name_is_in_force() {
    let token = Token::softhsm();
    let key = new_key(&token.executor(), KeySpec::P256);
    let mut config = token.config();
    config.profile = Some("azure-tls-offload".to_owned());
    let executor = started(config, Power::Administer);
    assert_eq!(executor.token().unwrap().profile, "azure-tls-offload");
    let destroyed = executor.destroy(Permitted(destroy_order(&executor, &key)));
    assert!(
        matches!(destroyed, Err(Error::NotOffered { .. })),
        "that library has no C_DestroyObject"
    );
    let born = executor.generate(Permitted(order_for(&executor, KeySpec::Ed25519)));
    assert_eq!(born.unwrap_err().class(), Class::Unsupported);
    assert_eq!(executor.list().unwrap().len(), 2);
}
