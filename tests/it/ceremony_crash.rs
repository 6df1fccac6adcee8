//! A crash anywhere in a ceremony: reconciliation adopts, abandons or reports, by rule; there are never two keys, and
//! nothing is repeated blindly.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::support::database::Database;
use crate::support::executor::on_token;
use crate::support::installation::{Installation, member, text};
use crate::support::process::{Running, Said, is_running, until};

const RING: &str = "integrity";

fn new_ring() -> (Installation, Database) {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let database = Database::open(&installation.sqlite_url());
    (installation, database)
}

fn reconcile(installation: &Installation) -> Vec<(String, String)> {
    let said = installation
        .chancery(["ceremony", "reconcile", "--alone"])
        .json();
    let findings = said.as_array().expect("findings");
    findings
        .iter()
        .map(|f: &Value| {
            let object = member(f, "object");
            let cka_id = object.rsplit('/').next().unwrap_or_default();
            (cka_id.to_owned(), member(f, "finding"))
        })
        .collect()
}

fn approved(installation: &Installation) -> String {
    let id = installation.propose(RING);
    installation.vote_all("approve", &id);
    id
}

fn cka_id(database: &mut Database, ceremony: &str) -> String {
    database.one(&format!(
        "SELECT substr(id, length(id) - 31) FROM key_object WHERE ceremony = '{ceremony}'"
    ))
}

/// The database as it was between the intent and the result, the token as it is now.
fn forget_result(database: &mut Database, ceremony: &str) {
    database.disarm(&["ceremony", "key_object"]);
    database.run(&format!(
        "UPDATE ceremony SET state = 'executing', execution = NULL WHERE id = '{ceremony}';
         UPDATE ceremony_line SET done = 0 WHERE ceremony = '{ceremony}';
         UPDATE key_object SET state = 'intended', kid = NULL, location = NULL WHERE ceremony = '{ceremony}'"
    ));
}

fn delete(installation: &Installation, kind: &str, cka_id: &str) {
    let said = installation.token_tool(&["--delete-object", "--type", kind, "--id", cka_id]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

fn refused(said: &Said) {
    assert_eq!(said.code, Some(3), "{said:?}");
}

/// The ceremony goes on to its end, and its transcript verifies.
fn is_accepted(installation: &Installation, ceremony: &str) {
    installation.vote_all("accept", ceremony);
    assert_eq!(installation.ceremony_state(ceremony), "closed");
    let file = installation.file(&format!("{ceremony}.transcript"));
    installation.chancery(["ceremony", "transcript", ceremony, "--out", text(&file)]);
    let verify = [
        "ceremony",
        "verify",
        text(&file),
        "--genesis",
        &installation.genesis,
    ];
    installation.chancery(verify);
}

#[test]
fn generation_interrupted_after_the_key_was_born_is_adopted() {
    let (installation, mut database) = new_ring();
    let id = approved(&installation);
    installation.chancery(["ceremony", "execute", &id]);
    let kid = installation.only_kid(&id);
    forget_result(&mut database, &id);
    // Nothing to be accepted yet.
    refused(&installation.try_vote("accept", &id, &installation.custodians[1]));
    assert_eq!(
        on_token(&installation).values().collect::<Vec<_>>(),
        [&(1, 1)]
    );

    let object = cka_id(&mut database, &id);
    assert_eq!(
        reconcile(&installation),
        [(object, "generated but not recorded".to_owned())]
    );
    assert_eq!(
        reconcile(&installation),
        [],
        "and there is nothing left to find"
    );
    assert_eq!(
        on_token(&installation).values().collect::<Vec<_>>(),
        [&(1, 1)]
    );
    let show = installation.chancery(["ceremony", "show", &id]).json();
    assert_eq!(
        (installation.only_kid(&id), member(&show, "state")),
        (kid, "executed".to_owned())
    );
    refused(&installation.try_chancery(["ceremony", "execute", &id]));
    is_accepted(&installation, &id);
}

#[test]
fn generation_interrupted_before_the_key_was_born_is_abandoned() {
    let (installation, mut database) = new_ring();
    let id = approved(&installation);
    installation.chancery(["ceremony", "execute", &id]);
    let object = cka_id(&mut database, &id);
    forget_result(&mut database, &id);
    delete(&installation, "privkey", &object);
    delete(&installation, "pubkey", &object);
    assert_eq!(
        reconcile(&installation),
        [(object, "planned but never generated".to_owned())]
    );
    assert_eq!(installation.ceremony_state(&id), "failed");
    refused(&installation.try_chancery(["ceremony", "execute", &id]));
    assert_eq!(reconcile(&installation), []);
    assert!(on_token(&installation).is_empty());
    // Proposed anew, under a number of its own: one is used once.
    let (next, _) = installation.hold(RING);
    let number = format!("SELECT CAST(number AS TEXT) FROM key_object WHERE ceremony = '{next}'");
    assert_eq!(database.one(&number), "2");
}

/// A generation that died with this half on the token; the ceremony and the `CKA_ID`.
fn died_halfway(installation: &Installation, database: &mut Database, left: &str) -> [String; 2] {
    let id = approved(installation);
    installation.chancery(["ceremony", "execute", &id]);
    let object = cka_id(database, &id);
    forget_result(database, &id);
    let gone = if left == "pubkey" {
        "privkey"
    } else {
        "pubkey"
    };
    delete(installation, gone, &object);
    [id, object]
}

#[test]
fn a_private_half_is_abandoned_and_reported_until_somebody_removes_it() {
    let (installation, mut database) = new_ring();
    let [id, object] = died_halfway(&installation, &mut database, "privkey");
    let before = on_token(&installation);
    assert_eq!(
        reconcile(&installation),
        [(object.clone(), "only one half of the key pair".to_owned())]
    );
    assert_eq!(installation.ceremony_state(&id), "failed");
    refused(&installation.try_vote("accept", &id, &installation.custodians[1]));
    for _ in 0..2 {
        let found = "recorded as destroyed but still on the token".to_owned();
        assert_eq!(reconcile(&installation), [(object.clone(), found)]);
        assert_eq!(
            on_token(&installation),
            before,
            "it is not cleaned by guessing"
        );
    }
    delete(&installation, "privkey", &object);
    assert_eq!(reconcile(&installation), []);
    installation.hold(RING);
}

#[test]
fn case_l3_a_public_half_that_a_killed_generation_left_is_removed_if_its_id_was_intended() {
    let (installation, mut database) = new_ring();
    // One whose id nobody intended is not ours to remove.
    let stray = "b1".repeat(16);
    let made = ["--keypairgen", "--key-type", "EC:prime256v1", "--id"];
    let made = [&made[..], &[&stray, "--label", "stray"]].concat();
    assert_eq!(installation.token_tool(&made).code, Some(0));
    delete(&installation, "privkey", &stray);
    let reported = (stray.clone(), "on the token without a ceremony".to_owned());

    let [id, object] = died_halfway(&installation, &mut database, "pubkey");
    let removed = "a public key without its private key".to_owned();
    let mut found = reconcile(&installation);
    found.sort();
    let mut expected = vec![(object, removed), reported.clone()];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(
        on_token(&installation),
        BTreeMap::from([(stray, (0, 1))]),
        "the intended one is gone, the other one is as it was"
    );
    assert_eq!(installation.ceremony_state(&id), "failed");
    refused(&installation.try_vote("accept", &id, &installation.custodians[1]));
    assert_eq!(reconcile(&installation), [reported], "nothing else is left");
    installation.hold(RING);
}

#[test]
fn objects_without_a_ceremony_and_ceremonies_without_an_object_are_reported() {
    let (installation, mut database) = new_ring();
    let (id, _) = installation.hold(RING);
    assert_eq!(reconcile(&installation), []);
    let stray = "b1".repeat(16);
    let made = [
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--id",
        &stray,
        "--label",
        "stray",
    ];
    assert_eq!(installation.token_tool(&made).code, Some(0));
    assert_eq!(
        reconcile(&installation),
        [(stray.clone(), "on the token without a ceremony".to_owned())]
    );
    let object = cka_id(&mut database, &id);
    delete(&installation, "privkey", &object);
    let mut found = reconcile(&installation);
    found.sort();
    let mut expected = vec![
        (object, "missing or incomplete on the token".to_owned()),
        (stray.clone(), "on the token without a ceremony".to_owned()),
    ];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(
        on_token(&installation)[&stray],
        (1, 1),
        "reported, not cleaned by guessing"
    );
}

/// Two keys, of which the first is retired; returns its kid and the ceremony that bore it.
fn with_retired_key(installation: &Installation) -> (String, String) {
    let (id, kid) = installation.hold(RING);
    installation.hold(RING);
    installation.rotate_when_safe(RING);
    installation.rotate_when_safe(RING);
    let retire = ["ring", "retire", RING, "--kid", &kid, "--apply"];
    until("it may retire", || {
        installation.try_chancery(retire).code == Some(0)
    });
    (id, kid)
}

fn state_of(database: &mut Database, kid: &str) -> String {
    database.one(&format!(
        "SELECT state FROM signing_key WHERE kid = '{kid}'"
    ))
}

#[test]
fn destruction_interrupted_is_recorded_or_done_again_under_a_new_request() {
    let (installation, mut database) = new_ring();
    let (born, kid) = with_retired_key(&installation);
    let object = cka_id(&mut database, &born);
    let archive = ["ring", "archive", RING, "--kid", &kid, "--apply"];

    // The intent was written and we died: the object is still there.
    let id = installation.propose_words(&archive);
    installation.vote_all("approve", &id);
    database.disarm(&["ceremony", "key_object"]);
    database.run(&format!(
        "UPDATE ceremony SET state = 'executing' WHERE id = '{id}';
         UPDATE key_object SET state = 'destroying', destruction = '{id}' WHERE substr(id, length(id) - 31) = '{object}'"
    ));
    let found = reconcile(&installation);
    assert_eq!(
        found,
        [(
            object.clone(),
            "should have been destroyed but still exists".to_owned()
        )]
    );
    assert_eq!(
        on_token(&installation)[&object],
        (1, 1),
        "nothing is destroyed without a quorum at hand"
    );
    assert_eq!(state_of(&mut database, &kid), "retired");
    assert_eq!(installation.ceremony_state(&id), "failed");
    refused(&installation.try_chancery(["ceremony", "execute", &id]));

    // As the report says: its destruction is proposed anew, and other ceremonies go on.
    let again = installation.propose_words(&archive);
    installation.vote_all("approve", &again);
    installation.chancery(["ceremony", "execute", &again]);
    assert_eq!(state_of(&mut database, &kid), "archived");
    assert!(!on_token(&installation).contains_key(&object));
    installation.vote_all("accept", &again);
    installation.hold(RING);
}

#[test]
fn destruction_interrupted_after_the_object_was_gone_is_recorded() {
    let (installation, mut database) = new_ring();
    let (born, kid) = with_retired_key(&installation);
    let object = cka_id(&mut database, &born);
    let id = installation.propose_words(&["ring", "archive", RING, "--kid", &kid, "--apply"]);
    installation.vote_all("approve", &id);
    database.disarm(&["ceremony", "key_object"]);
    let now = "CAST(strftime('%s', 'now') AS INTEGER) * 1000";
    database.run(&format!(
        "UPDATE ceremony SET state = 'executing' WHERE id = '{id}';
         UPDATE key_object SET state = 'destroying', destruction = '{id}', updated_at = {now} + 1000 WHERE substr(id, length(id) - 31) = '{object}'"
    ));
    delete(&installation, "privkey", &object);
    delete(&installation, "pubkey", &object);
    assert_eq!(
        reconcile(&installation),
        [(object, "destroyed but not recorded".to_owned())]
    );
    assert_eq!(state_of(&mut database, &kid), "archived");
    assert_eq!(reconcile(&installation), []);
    installation.vote_all("accept", &id);
    assert_eq!(installation.ceremony_state(&id), "closed");
    installation.hold(RING);
}

#[test]
fn execute_killed_at_any_moment_leaves_one_key_or_none() {
    let (installation, mut database) = new_ring();
    const ROUNDS: u64 = 16;
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..ROUNDS {
        let id = approved(&installation);
        let mut execute = installation.command();
        execute.args(["--output", "json", "ceremony", "execute", &id]);
        execute
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = Running::new(execute.spawn().expect("it starts"));
        // Some are killed at any moment, most in what is short: from the intent on, a millisecond later each time.
        if round < 4 {
            sleep(Duration::from_millis(round * 40));
        } else {
            let state = format!("SELECT state FROM ceremony WHERE id = '{id}'");
            until("the intent is written", || {
                database.one(&state) != "approved" || !child.is_alive()
            });
            sleep(Duration::from_millis((round - 4) * 2));
        }
        let workers = child.children();
        child.kill();
        // `--alone`, as below, is said by who made sure of it.
        until("its worker has ended", || {
            !workers.iter().any(|id| is_running(*id))
        });

        let before = installation.ceremony_state(&id);
        reconcile(&installation);
        let after = installation.ceremony_state(&id);
        *ends.entry(format!("{before}, then {after}")).or_default() += 1;
        match after.as_str() {
            // Killed before the intent: it is simply carried out.
            "approved" => {
                installation.chancery(["ceremony", "execute", &id]);
                is_accepted(&installation, &id);
            }
            "executed" => is_accepted(&installation, &id),
            "failed" => {}
            other => panic!("{other} after {before}"),
        }
        let objects = on_token(&installation);
        assert!(objects.values().all(|pair| *pair == (1, 1)), "{objects:?}");
    }
    println!("killed {ROUNDS} times: {ends:?}");

    // The whole world: as many keys as ceremonies that ended well, each once, each on the token; what was born too
    // late to be adopted is reported and is nobody's key.
    let count = |database: &mut Database, what: &str| -> usize {
        database
            .one(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM {what}"))
            .parse()
            .expect("a number")
    };
    let keys = count(&mut database, "signing_key");
    assert_eq!(
        keys,
        count(&mut database, "ceremony WHERE state = 'closed'")
    );
    assert_eq!(
        keys,
        count(&mut database, "key_object WHERE state = 'present'")
    );
    assert_eq!(
        count(&mut database, "ceremony WHERE state = 'executing'"),
        0
    );
    let known =
        database.rows("SELECT substr(id, length(id) - 31) FROM key_object WHERE state = 'present'");
    let objects = on_token(&installation);
    assert!(known.iter().all(|row| objects.contains_key(&row[0])));
    let strays: Vec<String> = reconcile(&installation).into_iter().map(|f| f.0).collect();
    assert_eq!(objects.len(), keys + strays.len(), "{strays:?}");
    installation.rotate_when_safe(RING);
}
