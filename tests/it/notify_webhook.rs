//! Webhooks as a receiver of somebody else's verifies them, through a change of the secret and kill -9.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::installation::Installation;
use crate::support::process::until;
use crate::support::receiver::{Receiver, configure};

const RING: &str = "integrity";
const OLD: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "whsec_HxISEwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn section(address: &str, secrets: &[&str]) -> String {
    let secrets: Vec<String> = secrets
        .iter()
        .map(|name| format!("{{ file = \"{name}\" }}"))
        .collect();
    format!(
        "[notify.receivers.ops]\nkind = \"webhook\"\nurl = \"http://{address}/hook\"\nallow_private = true\ntimeout = \"1s\"\nsecrets = [{}]\n",
        secrets.join(", ")
    )
}

#[test]
fn strangers_verify_with_the_old_secret_and_the_new_one_while_it_changes() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let hook = Receiver::webhook(&[OLD, NEW]);
    for (name, secret) in [("one", OLD), ("two", NEW)] {
        fs::write(installation.file(name), secret).expect("written");
    }
    configure(&installation, &section(&hook.address, &["one", "two"]));
    let service = installation.serve();
    let id = installation.propose(RING);
    let both = hook.next();
    assert_eq!(both["verified"], serde_json::json!([true, true]), "{both}");
    assert_eq!(both["body"]["type"], "ceremony.proposed");
    assert_eq!(both["body"]["data"]["facts"]["ceremony"], id);
    // A file that is replaced counts from the next message on, without a restart.
    fs::write(installation.file("one"), NEW).expect("written");
    let berta = &installation.custodians[1];
    let key = berta.key_file().to_str().expect("UTF-8");
    installation.chancery([
        "ceremony",
        "reject",
        &id,
        "--key",
        key,
        "--reason",
        "not today",
    ]);
    let new = hook.next();
    assert_eq!(new["verified"], serde_json::json!([false, true]), "{new}");
    assert_eq!(new["body"]["type"], "ceremony.rejected");
    let facts = &new["body"]["data"]["facts"];
    assert_eq!(
        (&facts["by"], &facts["why"]),
        (&"custodian:berta".into(), &"not today".into())
    );
    let log = service.log();
    for secret in [OLD, NEW] {
        assert!(!log.contains(secret.trim_start_matches("whsec_")), "{log}");
    }
    until("it is counted", || {
        service.metric("chancery_notifications_delivered_total") == Some(2.0)
    });
}

#[test]
fn threat_killed_again_and_again_it_announces_once_and_repeats_under_one_id() {
    let installation = Installation::new();
    let mut hook = Receiver::webhook(&[OLD]);
    fs::write(installation.file("one"), OLD).expect("written");
    configure(&installation, &section(&hook.address, &["one"]));
    let rings = ["r1", "r2", "r3"];
    for ring in rings {
        installation.create_ring(ring, &[]);
    }
    // The receiver takes each and answers too late, and the service dies meanwhile.
    hook.answers("200 1.5");
    let mut seen: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut keep = |got: Value| {
        let id = got["id"].as_str().expect("an id").to_owned();
        seen.entry(id).or_default().push(got);
    };
    for ring in rings {
        let service = installation.serve();
        installation.propose(ring);
        keep(hook.next());
        // Dropping it is kill -9.
        drop(service);
    }
    hook.answers("200 0");
    let service = installation.serve();
    let delivered = || {
        let listed = installation.chancery(["notify", "list", "--state", "delivered"]);
        listed.json().as_array().map_or(0, Vec::len)
    };
    until("all are delivered", || delivered() == rings.len());
    // What came meanwhile.
    while let Some(got) = hook.soon() {
        keep(got);
    }
    assert_eq!(
        seen.len(),
        rings.len(),
        "one message for each event: {seen:#?}"
    );
    for (id, attempts) in &seen {
        let bodies = attempts
            .iter()
            .all(|one| one["body"] == attempts[0]["body"]);
        assert!(
            bodies && attempts.iter().all(|one| one["verified"][0] == true),
            "{id}: {attempts:#?}"
        );
    }
    // And nothing any more once it is acknowledged.
    drop(service);
    let _again = installation.serve();
    hook.is_quiet_for(std::time::Duration::from_secs(8));
}
