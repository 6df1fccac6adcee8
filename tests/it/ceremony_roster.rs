//! Roster, policy and suspensions by the command line over HTTP, with real `ssh-keygen`: two replicas on PostgreSQL follow
//! without a restart, and believe no hand in the database.

use std::process::Command;

use serde_json::Value;

use crate::ceremony_database::Case;
use crate::support::custodian::with_key;
use crate::support::installation::{Service, free_port, member, text};
use crate::support::past::{check, codes};
use crate::support::process::{Said, run, until};

/// The command line of somebody who has a key and nothing else.
fn elsewhere(case: &Case, at: &Service, words: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    let url = format!("http://{}", at.api);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(case.installation.directory.path())
        .args(["--output", "json"])
        .args(words)
        .args(["--url", &url, "--genesis", &case.installation.genesis]);
    run(&mut command, b"")
}

fn does(case: &Case, at: &Service, words: &[&str]) -> Value {
    let said = elsewhere(case, at, words);
    assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
    said.json()
}

fn reads(case: &Case, at: &Service, key: &str) -> bool {
    elsewhere(case, at, &["ceremony", "list", "--key", key]).code == Some(0)
}

#[test]
fn a_lost_custodian_is_replaced_from_afar_and_every_replica_follows_and_believes_no_row() {
    let mut case = Case::postgres();
    let other = case.installation.replica(&[]);
    let directory = case.installation.directory.path().to_owned();
    let frank = with_key(&directory, "frank", "ed25519");
    let [ada, berta, carl] = [0, 1, 2].map(|n| {
        let custodian = &case.installation.custodians[n];
        text(custodian.key_file()).to_owned()
    });
    let [ada, berta, carl] = [&ada, &berta, &carl].map(String::as_str);
    let frank_key = text(frank.key_file());
    let open = case.installation.propose(crate::ceremony_database::RING);

    let add = format!("frank={}", text(&frank.public_key_file()));
    let words = ["trust", "new-roster", "--remove", "carl", "--add", &add];
    let more = ["--out", "next-roster", "--key", ada];
    let filed = does(&case, &case.service, &[&words[..], &more].concat());
    let id = member(&filed, "statement");
    assert_eq!(filed["state"], "open");
    // What changes is rendered from the bytes, also without the service.
    let review = does(&case, &other, &["trust", "review", &id, "--key", berta]);
    let changes = review["changes"].to_string();
    assert!(
        changes.contains("members.2.active: true -> false"),
        "{changes}"
    );
    let file = case.installation.file("next-roster");
    let offline = case
        .installation
        .chancery(["ceremony", "review", text(&file)])
        .json();
    assert_eq!(offline["digest"], id.as_str());

    // It is on Berta's list beside the ceremony, with what she types.
    let waits = || {
        does(
            &case,
            &other,
            &["ceremony", "list", "--waiting", "--key", berta],
        )
    };
    let of_both = || {
        let all = waits();
        let all = all.as_array().expect("a list").iter();
        all.map(|one| one["asked"].to_string()).collect::<String>()
    };
    until("both wait for Berta", || of_both() == "\"approve\"\"sign\"");
    let listed = waits()[1].clone();
    assert_eq!(
        (&listed["statement"], &listed["kind"]),
        (&filed["statement"], &Value::from("roster"))
    );
    let mut signed = Value::Null;
    for command in listed["next"].as_array().expect("commands") {
        let words: Vec<&str> = command.as_str().expect("text").split(' ').skip(1).collect();
        signed = does(&case, &other, &[&words[..], &["--key", berta]].concat());
    }
    assert_eq!(signed["state"], "open", "{signed}");
    until("nothing is left for her to sign", || {
        of_both() == "\"approve\""
    });
    // The bytes that a new key signs, as they were filed.
    let copy = case.installation.file("copy");
    let words = ["trust", "review", &id, "--out", text(&copy), "--key", berta];
    does(&case, &other, &words);
    let bytes = |file: &std::path::Path| std::fs::read(file).expect("a file");
    assert_eq!(bytes(&copy), bytes(&file));
    let early = elsewhere(
        &case,
        &case.service,
        &["trust", "sign", &id, "--key", frank_key],
    );
    assert_eq!(
        early.code,
        Some(3),
        "nobody reads before being a member: {early:?}"
    );
    let words = ["trust", "sign", text(&file), "--key", frank_key];
    assert_eq!(does(&case, &case.service, &words)["state"], "effective");

    for replica in [&case.service, &other] {
        until("the replica follows", || reads(&case, replica, frank_key));
        until("and knows who left", || !reads(&case, replica, carl));
        case.is_sound(replica);
    }
    let shown = does(
        &case,
        &other,
        &["ceremony", "show", &open, "--key", frank_key],
    );
    assert_eq!(shown["state"], "cancelled");
    let renew = [
        "ceremony",
        "renew",
        &open,
        "--proposer",
        "ada",
        "--key",
        ada,
    ];
    let renew = [&renew[..], &["--reason", "the roster changed"]].concat();
    let renewed = member(&does(&case, &other, &renew), "ceremony");
    does(
        &case,
        &other,
        &["ceremony", "approve", &renewed, "--key", frank_key],
    );

    // Suspended at once, at every replica.
    let suspend = [
        "trust", "suspend", "berta", "--reason", "stolen", "--key", berta,
    ];
    assert_eq!(does(&case, &other, &suspend)["state"], "effective");
    for replica in [&case.service, &other] {
        until("she is suspended", || !reads(&case, replica, berta));
    }
    let report = check(&case.installation);
    assert_eq!(codes(&report), [""; 0], "{report}");

    // A superuser suspends Frank, and opens and closes whatever he likes: nobody signed it.
    case.database
        .disarm(&["trust_statement", "trust_statement_signature"]);
    case.database.run(
        "INSERT INTO trust_statement (id, kind, state, follows, opened_by, body, created_at, closes_at, updated_at)
         SELECT repeat('ab', 32), kind, 'effective', follows, 'frank',
             convert_to(replace(convert_from(body, 'UTF8'), 'berta', 'frank'), 'UTF8'), created_at, closes_at, updated_at
         FROM trust_statement WHERE kind = 'suspension';
         INSERT INTO trust_statement_signature (statement, purpose, body, signature, received_at, idx)
         SELECT repeat('ab', 32), purpose, body, signature, received_at, idx + 1000000
         FROM trust_statement_signature WHERE purpose = 'suspend'",
    );
    case.database.announce();
    for replica in [&case.service, &other] {
        case.is_sound(replica);
        assert!(reads(&case, replica, frank_key));
    }
    let report = check(&case.installation);
    let found = codes(&report);
    assert!(found.contains(&"statement_unlogged"), "{report}");
    assert!(found.contains(&"suspension_unlogged"), "{report}");

    let chain = case.installation.file("chain");
    let answered = case.service.get("/v1/trust").into_body();
    std::fs::write(&chain, answered).expect("a file");
    // He takes the roster back to the one before: replicas that knew the new one stay with it, and the check tells.
    case.database.disarm(&["trust_document"]);
    case.database
        .run("DELETE FROM trust_document WHERE place = 1");
    case.database.announce();
    for replica in [&case.service, &other] {
        until("the replica says so", || {
            replica.log().contains("shorter than it was")
        });
        assert!(!reads(&case, replica, carl));
    }
    let report = check(&case.installation);
    assert!(codes(&report).contains(&"document_missing"), "{report}");

    // One that starts on what is left does not, until the roster is put back; whose copy it is does not matter.
    let refused = serve(&case);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("does not have"), "{refused:?}");
    let restore = ["trust", "restore", text(&chain)];
    let restored = case.installation.chancery(restore).json();
    assert_eq!(restored["restored"], 1);
    case.database.announce();
    let third = case.installation.replica(&[]);
    case.is_sound(&third);
    assert!(reads(&case, &third, frank_key) && !reads(&case, &third, carl));
    let report = check(&case.installation);
    assert!(!codes(&report).contains(&"document_missing"), "{report}");
}

/// What a replica says that is started on ports of its own and ends.
fn serve(case: &Case) -> Said {
    let mut command = case.installation.command();
    command
        .env("CHANCERY_HTTP__LISTEN", free_port())
        .env("CHANCERY_HTTP__OPERATIONS_LISTEN", free_port())
        .arg("serve");
    run(&mut command, b"")
}
