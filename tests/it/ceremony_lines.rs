//! Each subject has a line of ceremonies of its own: what is held on one never makes another void. And who proposes,
//! signs.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::agreement::PYTHON;
use crate::support::database::Database;
use crate::support::installation::{Installation, member, must, text};
use crate::support::process::{Said, repository, run};

/// Writes the transcript of a closed ceremony.
fn transcript(installation: &Installation, id: &str) -> PathBuf {
    let file = installation.file(&format!("{id}.transcript"));
    installation.chancery(["ceremony", "transcript", id, "--out", text(&file)]);
    file
}

/// Both verifiers accept each transcript, and the second one all of them as what happened.
fn both_verifiers_accept(installation: &Installation, ids: &[String]) {
    let files: Vec<PathBuf> = ids.iter().map(|id| transcript(installation, id)).collect();
    for file in &files {
        let genesis = installation.genesis.as_str();
        installation.chancery(["ceremony", "verify", text(file), "--genesis", genesis]);
    }
    for more in [&[][..], &["--succession"]] {
        let mut second = std::process::Command::new(PYTHON);
        second.arg(repository("deploy/verifier/chancery_verify.py"));
        second
            .args(&files)
            .args(["--genesis", &installation.genesis]);
        let said = run(second.args(more), b"");
        assert_eq!(said.code, Some(0), "{said:?}");
    }
}

fn refused(said: &Said, words: &str) {
    assert_eq!(said.code, Some(3), "{said:?}");
    let message = member(&said.json()["error"], "message");
    assert!(message.contains(words), "{words:?} is not in {message:?}");
}

#[test]
fn ten_ceremonies_side_by_side_are_all_carried_out() {
    let installation = Installation::new();
    let rings: Vec<String> = (0..10).map(|n| format!("ring-{n}")).collect();
    for ring in &rings {
        installation.create_ring(ring, &[]);
    }
    let ids: Vec<String> = rings
        .iter()
        .map(|ring| installation.propose(ring))
        .collect();
    // One custodian goes through all of them before the other one begins, in another order.
    let [berta, carl] = installation.signers() else {
        panic!("two")
    };
    let approve = |id: &str, who| {
        let said = installation.try_vote("approve", id, who);
        assert_eq!(said.code, Some(0), "{said:?}");
    };
    ids.iter().for_each(|id| approve(id, berta));
    ids.iter().rev().for_each(|id| approve(id, carl));
    for id in ids.iter().rev() {
        installation.chancery(["ceremony", "execute", id]);
    }
    for (odd, id) in ids.iter().enumerate() {
        let [first, second] = if odd % 2 == 0 {
            [berta, carl]
        } else {
            [carl, berta]
        };
        assert_eq!(installation.try_vote("accept", id, first).code, Some(0));
        assert_eq!(installation.try_vote("accept", id, second).code, Some(0));
    }
    for id in &ids {
        let show = installation.chancery(["ceremony", "show", id]).json();
        assert_eq!(show["state"], "closed");
        assert_eq!(
            show["lines"][0]["sequence"], 1,
            "each is the first of its line"
        );
    }
    both_verifiers_accept(&installation, &ids);
}

#[test]
fn a_key_is_revoked_while_its_ring_rotates() {
    let installation = Installation::new();
    let first = installation.open_ring("atp");
    // The next key is born and waits for acceptances.
    let next = installation.propose("atp");
    installation.vote_all("approve", &next);
    installation.chancery(["ceremony", "execute", &next]);
    let later = installation.propose("atp");
    installation.vote_all("approve", &later);

    let because = ["--because", "superseded"];
    let revocation = installation.revoke("atp", &first, &because);
    // Neither waited for the other, and what is proposed for the ring is not void.
    installation.vote_all("accept", &next);
    installation.chancery(["ceremony", "execute", &later]);
    installation.vote_all("accept", &later);
    for id in [&next, &later, &revocation] {
        assert_eq!(installation.ceremony_state(id), "closed");
    }
    let key = installation.chancery(["key", "show", &first]).json();
    assert_eq!(key["state"], "revoked");
    installation.rotate_when_safe("atp");

    // Of two on the same key the first one carried out makes the other void.
    let twins: Vec<String> = [1, 2]
        .into_iter()
        .map(|hour| {
            let since = format!("2026-01-01T0{hour}:00:00.000Z");
            let words = ["ring", "revoke", "atp", "--kid", &first, "--apply"];
            let more = ["--because", "compromised", "--compromised-since", &since];
            let id = installation.propose_words(&[&words[..], &more].concat());
            installation.vote_all("approve", &id);
            id
        })
        .collect();
    installation.chancery(["ceremony", "execute", &twins[1]]);
    refused(
        &installation.try_chancery(["ceremony", "execute", &twins[0]]),
        "expected 3",
    );
}

#[test]
fn a_revocation_is_made_more_severe_and_the_key_is_destroyed() {
    let installation = Installation::new();
    let kid = installation.open_ring("atp");
    installation.give_birth("atp");
    installation.rotate_when_safe("atp");
    let words = ["ring", "revoke", "atp", "--kid", &kid, "--apply"];
    let superseded = installation.revoke("atp", &kid, &["--because", "superseded"]);
    let show = || installation.chancery(["key", "show", &kid]).json()["revocation"].clone();
    let before = show();
    assert_eq!(before["reason"], "superseded");

    let since = ["--because", "compromised", "--compromised-since"];
    let at = "2026-02-01T00:00:00.000Z";
    let worse = installation.revoke("atp", &kid, &[&since[..], &[at]].concat());
    let after = show();
    assert_eq!(after["reason"], "compromised");
    assert_eq!(after["compromised_since"], at);
    assert_eq!(
        after["revoked_at"], before["revoked_at"],
        "it stays as old as it is"
    );

    // Never less severe again.
    for more in [
        vec!["--because", "superseded"],
        [&since[..], &["2026-03-01T00:00:00.000Z"]].concat(),
    ] {
        let said = installation.try_propose_words(&[&words[..], &more].concat());
        refused(&said, "only a more severe revocation is allowed");
        assert_eq!(show(), after);
    }
    let earlier = [&since[..], &["2026-01-15T00:00:00.000Z"]].concat();
    let worst = installation.revoke("atp", &kid, &earlier);
    assert_eq!(show()["compromised_since"], "2026-01-15T00:00:00.000Z");

    let words = ["ring", "archive", "atp", "--kid", &kid, "--apply"];
    let destroyed = installation.hold_words(&words);
    let key = installation.chancery(["key", "show", &kid]).json();
    assert_eq!(key["state"], "revoked");
    let mut database = Database::open(&installation.sqlite_url());
    let object = format!("SELECT state FROM key_object WHERE kid = '{kid}'");
    assert_eq!(database.one(&object), "destroyed");
    both_verifiers_accept(&installation, &[superseded, worse, worst, destroyed]);
}

#[test]
fn nobody_proposes_in_anothers_name_and_who_proposed_may_cancel() {
    let installation = Installation::new();
    installation.create_ring("atp", &[]);
    let [ada, berta, _] = installation.custodians.as_slice() else {
        panic!("three")
    };
    // Written on one machine, signed on another, handed in by whoever.
    let file = installation.file("request");
    let new = [
        "ceremony",
        "new",
        "generate",
        "--ring",
        "atp",
        "--proposer",
        &ada.id,
    ];
    let more = ["--reason", "test", "--out", text(&file)];
    let said = installation.chancery(new.into_iter().chain(more)).json();
    assert_eq!(said["proposed"], false);
    let namespace = member(&said, "namespace");
    assert!(namespace.starts_with("chancery/propose.v1@"), "{namespace}");
    let reviewed = installation.chancery(["ceremony", "review", text(&file)]);
    assert!(reviewed.text().contains("ring/atp"), "{reviewed:?}");
    let hand_in = |signature: &std::path::Path| {
        let propose = ["ceremony", "propose", text(&file)];
        installation.try_chancery(propose.into_iter().chain(["--signature", text(signature)]))
    };
    refused(
        &hand_in(&must(berta.sign(&file, &namespace))),
        "the proposal is not signed by ada",
    );
    let approve = namespace.replace("propose", "approve");
    refused(
        &hand_in(&must(ada.sign(&file, &approve))),
        "not signed by ada",
    );
    let said = hand_in(&must(ada.sign(&file, &namespace)));
    assert_eq!(said.code, Some(0), "{said:?}");
    let id = member(&said.json(), "ceremony");
    assert_eq!(
        hand_in(&must(ada.sign(&file, &namespace))).code,
        Some(3),
        "once"
    );

    let cancel = |who: &crate::support::custodian::Custodian| {
        let cancel = ["ceremony", "cancel", &id, "--key", text(who.key_file())];
        installation.try_chancery(cancel.into_iter().chain(["--reason", "not yet"]))
    };
    installation.vote_all("approve", &id);
    refused(&cancel(berta), "not the proposer's signature");
    assert_eq!(cancel(ada).code, Some(0));
    assert_eq!(installation.ceremony_state(&id), "cancelled");
    let execute = installation.try_chancery(["ceremony", "execute", &id]);
    assert_eq!(execute.code, Some(3));
    // Refusals and acts are told under the right names.
    let mut database = Database::open(&installation.sqlite_url());
    let told = |database: &mut Database, action: &str, kind: &str| -> Vec<Value> {
        let sql = format!("SELECT body FROM log_leaf WHERE kind = '{kind}' ORDER BY idx");
        let rows = database.rows(&sql).into_iter();
        rows.map(|row| serde_json::from_str(&row[0]).expect("JSON"))
            .filter(|leaf: &Value| leaf["action"] == json!(action))
            .collect()
    };
    assert_eq!(told(&mut database, "propose", "refusal").len(), 2);
    let proposed = told(&mut database, "propose", "ceremony");
    assert_eq!(proposed[0]["actor"], "member:ada");
    let cancelled = told(&mut database, "cancel", "ceremony");
    assert_eq!(cancelled[0]["actor"], "member:ada");
}
