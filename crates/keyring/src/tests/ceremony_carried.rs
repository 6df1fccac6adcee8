//! What is carried out on a machine without a network, and what comes back.

use std::time::Duration;

use store::StatementKind;
use testkit::custodians::Custodians;
use testkit::token::{Fault, SoftwareToken};
use trust::{Pin, Purpose, Sha256Digest};

use super::installation::{Installation, LABEL, LONG, SERIAL};
use crate::ceremony::{Alone, CarriedResult, Draft, Error, Look, carry_out};
use crate::rotation::RingChange;

/// Exported; the machine of the executor has nothing but the file.
async fn exported() -> (Installation, String, Vec<u8>) {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.approved("records", Installation::generation()).await;
    let file = export(&all, &id).await.unwrap();
    (all, id, file)
}

async fn export(all: &Installation, id: &str) -> Result<Vec<u8>, Error> {
    let kids = all.service().kids(id).await.unwrap();
    let snapshot = all.keys().await.snapshot_with(kids).await.unwrap();
    all.service().export_execution(id, &snapshot).await
}

async fn carried(all: &Installation, file: &[u8], look: Look) -> Result<CarriedResult, Error> {
    elsewhere(all, file, &all.settings.pin, look).await
}

async fn elsewhere(
    all: &Installation,
    file: &[u8],
    pin: &Pin,
    look: Look,
) -> Result<CarriedResult, Error> {
    carry_out(file, pin, &all.token.executor(), (all.now(), look)).await
}

async fn import(all: &Installation, result: &CarriedResult) -> Result<(), Error> {
    let bytes = result.encode().unwrap();
    all.service().import_execution(&bytes).await.map(drop)
}

const EXECUTING: &str = "generate executing | intended | - | ";

#[tokio::test]
async fn a_key_is_generated_without_a_network_and_accepted() {
    let (all, id, file) = exported().await;
    assert_eq!(all.state().await, format!("{EXECUTING}-"));
    assert_eq!(
        export(&all, &id).await.unwrap(),
        file,
        "the same file again"
    );
    // Nobody carries it out meanwhile, takes it back or settles it.
    assert!(all.execute(&id).await.is_err());
    assert!(all.object(&id, Purpose::Cancel, "carol").await.is_err());
    all.wait(3);
    let (service, executor) = (all.service(), all.token.executor());
    let found = service.reconcile(&executor, Alone::Yes).await.unwrap();
    assert!(found[0].finding.contains("comes on a file"), "{found:?}");

    let result = carried(&all, &file, Look::CarryOut).await.unwrap();
    assert_eq!(all.state().await, format!("{EXECUTING}pair"));
    import(&all, &result).await.unwrap();
    assert_eq!(all.state().await, "generate executed | present | - | pair");
    assert!(all.store.held_executions().await.unwrap().is_empty());
    assert!(all.reconcile().await.is_empty());
    let report = all.service().report(&id).await.unwrap();
    assert_eq!(report.kids, result.kids());
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    assert_eq!(
        all.state().await,
        "generate closed | present | records/1 prepared | pair"
    );
}

#[tokio::test]
async fn a_key_is_destroyed_without_a_network() {
    let (all, first) = Installation::open("records").await;
    all.next_primary("records").await;
    all.wait(LONG);
    all.change("records", &RingChange::Retire(first.clone()))
        .await;
    let draft = Draft::Destroy { kid: first.clone() };
    let id = all.approved("records", draft).await;
    let file = export(&all, &id).await.unwrap();
    let result = carried(&all, &file, Look::CarryOut).await.unwrap();
    let twice = carried(&all, &file, Look::CarryOut).await.unwrap_err();
    assert!(matches!(twice, Error::CarriedOutBefore), "{twice:?}");
    let again = carried(&all, &file, Look::ReadBack).await.unwrap();
    assert_eq!((again.kids(), again.is_done()), (result.kids(), true));
    import(&all, &result).await.unwrap();
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    assert_eq!(
        all.state().await,
        "generate closed, generate closed, destroy closed | destroyed, present | \
         records/1 archived, records/2 primary | pair"
    );
}

#[tokio::test]
async fn a_file_with_a_changed_byte_is_refused() {
    let (all, _, file) = exported().await;
    for at in (0..file.len()).step_by(13) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let refused = carried(&all, &changed, Look::CarryOut).await;
        assert!(refused.is_err(), "byte {at}");
    }
    assert_eq!(all.state().await, format!("{EXECUTING}-"));
    let result = carried(&all, &file, Look::CarryOut).await.unwrap();
    let result = result.encode().unwrap();
    for at in (0..result.len()).step_by(13) {
        let mut changed = result.clone();
        changed[at] ^= 1;
        let refused = all.service().import_execution(&changed).await;
        assert!(refused.is_err(), "byte {at}");
    }
    assert_eq!(all.state().await, format!("{EXECUTING}pair"));
    all.service().import_execution(&result).await.unwrap();
}

#[tokio::test]
async fn a_result_with_another_key_or_of_another_file_is_refused() {
    let (all, _, file) = exported().await;
    let result = carried(&all, &file, Look::CarryOut).await.unwrap();
    let honest = String::from_utf8(result.encode().unwrap()).unwrap();
    let import = async |text: String| all.service().import_execution(text.as_bytes()).await;
    let other = Sha256Digest::of(b"another file").to_string();
    let changed = honest.replace(&Sha256Digest::of(&file).to_string(), &other);
    let refused = import(digested(&changed)).await.unwrap_err().to_string();
    assert!(refused.contains("not of the file"), "{refused}");
    // A key of somebody who has the file and another token.
    let theirs = SoftwareToken::new(SERIAL, LABEL).executor();
    let stolen = carry_out(
        &file,
        &all.settings.pin,
        &theirs,
        (all.now(), Look::CarryOut),
    );
    let stolen = String::from_utf8(stolen.await.unwrap().encode().unwrap()).unwrap();
    let kid = |text: &str| {
        CarriedResult::decode(text.as_bytes())
            .unwrap()
            .kids()
            .remove(0)
    };
    let mixed = honest.replace(kid(&honest).as_str(), kid(&stolen).as_str());
    let refused = import(digested(&mixed)).await.unwrap_err();
    assert!(matches!(refused, Error::Acceptance(_)), "{refused:?}");
    assert_eq!(all.state().await, format!("{EXECUTING}pair"));
    import(honest).await.unwrap();
}

/// With the digest that the changed body has: not by accident, but by somebody who knows the format.
fn digested(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let body = trust::json::canonical(&value["body"]).unwrap();
    let file = serde_json::json!({"body": value["body"], "sha256": Sha256Digest::of(&body)});
    String::from_utf8(trust::json::canonical(&file).unwrap()).unwrap()
}

#[tokio::test]
async fn a_file_of_another_environment_or_genesis_is_refused() {
    let (all, _, file) = exported().await;
    for environment in ["staging", "production"] {
        let pin = Pin {
            environment: environment.parse().unwrap(),
            genesis: match environment {
                "staging" => all.settings.pin.genesis,
                _ => Custodians::new("production").pin().genesis,
            },
            ..all.settings.pin.clone()
        };
        let refused = elsewhere(&all, &file, &pin, Look::CarryOut).await;
        assert!(refused.is_err(), "{environment}");
    }
    assert_eq!(all.state().await, format!("{EXECUTING}-"));
}

#[tokio::test]
async fn a_file_is_used_once_and_so_is_its_result() {
    let (all, id, file) = exported().await;
    let result = carried(&all, &file, Look::CarryOut).await.unwrap();
    let twice = carried(&all, &file, Look::CarryOut).await.unwrap_err();
    assert!(matches!(twice, Error::CarriedOutBefore), "{twice:?}");
    // After a crash the same key is told again.
    let again = carried(&all, &file, Look::ReadBack).await.unwrap();
    assert_eq!(again.kids(), result.kids());
    import(&all, &again).await.unwrap();
    let twice = import(&all, &result).await.unwrap_err();
    assert!(matches!(twice, Error::State { .. }), "{twice:?}");
    let over = export(&all, &id).await.unwrap_err();
    assert!(matches!(over, Error::State { .. }), "{over:?}");
    assert_eq!(all.state().await, "generate executed | present | - | pair");
}

#[tokio::test]
async fn a_file_that_was_never_carried_out_comes_back_as_that() {
    let (all, _, file) = exported().await;
    all.token.fail_generation(Fault::Before);
    carried(&all, &file, Look::CarryOut).await.unwrap_err();
    let result = carried(&all, &file, Look::ReadBack).await.unwrap();
    assert!(!result.is_done());
    import(&all, &result).await.unwrap();
    assert_eq!(all.state().await, "generate failed | abandoned | - | -");
    all.standby("records").await;
}

#[tokio::test]
async fn a_file_is_carried_out_in_its_time_on_its_token_alone() {
    let (all, _, file) = exported().await;
    let other = SoftwareToken::new("another", LABEL);
    let at = (all.now(), Look::CarryOut);
    let refused = carry_out(&file, &all.settings.pin, &other.executor(), at).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("the connected token is")
    );
    all.wait(-3);
    let early = carried(&all, &file, Look::CarryOut).await.unwrap_err();
    assert!(
        early.to_string().contains("the clock of this machine"),
        "{early}"
    );
    all.wait(3 + 121);
    let late = carried(&all, &file, Look::CarryOut).await.unwrap_err();
    assert!(matches!(late, Error::NotApproved(_)), "{late:?}");
    assert_eq!(all.state().await, format!("{EXECUTING}-"));
}

#[tokio::test]
async fn only_what_is_approved_and_touches_a_token_goes_on_a_file() {
    let (all, kid) = Installation::open("records").await;
    let proposed = all.propose("records", Installation::generation()).await;
    let refused = export(&all, &proposed).await.unwrap_err();
    assert!(matches!(refused, Error::NotApproved(_)), "{refused:?}");
    let revocation = all
        .approved("records", Installation::revocation(&kid))
        .await;
    let refused = export(&all, &revocation).await.unwrap_err();
    assert!(
        refused.to_string().contains("touches no token"),
        "{refused}"
    );
    assert!(all.store.held_executions().await.unwrap().is_empty());
    all.execute(&revocation).await.unwrap();
}

/// What waits for an executor that died before the intent is not on a file, whatever its holder is called.
#[tokio::test]
async fn an_exporter_that_died_before_the_intent_keeps_nobody_for_long() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.approved("records", Installation::generation()).await;
    let second = Duration::from_secs(1);
    let taken = all.store.take_execution(&id, "file/dead", second).await;
    assert!(taken.unwrap());
    // Each exporter is one of its own.
    let refused = export(&all, &id).await.unwrap_err();
    assert!(matches!(refused, Error::Claimed), "{refused:?}");
    let over = all.store.renew_execution(&id, "file/dead", Duration::ZERO);
    assert!(over.await.unwrap());
    all.execute(&id).await.unwrap();
    assert_eq!(all.state().await, "generate executed | present | - | pair");
}

#[tokio::test]
async fn the_lease_of_a_file_is_short_until_the_intent_and_long_after_it() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.approved("records", Installation::generation()).await;
    all.break_at("UPDATE ON ceremony", "NEW.state = 'executing'")
        .await;
    export(&all, &id).await.unwrap_err();
    assert!(all.store.held_executions().await.unwrap().is_empty());
    all.repair().await;
    export(&all, &id).await.unwrap();
    let held = all.store.held_executions().await.unwrap();
    let left = held[0].left.unwrap();
    assert!(left > Duration::from_secs(2 * 3_600), "{left:?}");
}

#[tokio::test]
async fn what_the_token_has_is_told_after_the_deadline_too() {
    let (all, _, file) = exported().await;
    let result = carried(&all, &file, Look::CarryOut).await.unwrap();
    all.wait(121);
    let late = carried(&all, &file, Look::CarryOut).await.unwrap_err();
    assert!(matches!(late, Error::NotApproved(_)), "{late:?}");
    let told = carried(&all, &file, Look::ReadBack).await.unwrap();
    assert_eq!(told.kids(), result.kids());
    import(&all, &told).await.unwrap();
    assert_eq!(all.state().await, "generate executed | present | - | pair");
}

/// The destruction of a ring's first key, on a file.
async fn destruction() -> (Installation, String, Vec<u8>) {
    let (all, first) = Installation::open("records").await;
    all.next_primary("records").await;
    all.wait(LONG);
    all.change("records", &RingChange::Retire(first.clone()))
        .await;
    let id = all.approved("records", Draft::Destroy { kid: first }).await;
    let file = export(&all, &id).await.unwrap();
    (all, id, file)
}

#[tokio::test]
async fn an_import_that_died_in_the_middle_is_taken_again() {
    let (all, id, file) = destruction().await;
    let result = carried(&all, &file, Look::CarryOut).await.unwrap();
    all.wait(1);
    all.break_at("UPDATE ON ceremony", "NEW.state = 'executed'")
        .await;
    import(&all, &result).await.unwrap_err();
    all.repair().await;
    all.wait(1);
    assert_eq!(export(&all, &id).await.unwrap(), file, "the same file");
    import(&all, &result).await.unwrap();
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_come_back_is_recalled() {
    let (all, id, file) = exported().await;
    let recall = async |id: &str, reason: &str| all.service().recall_execution(id, reason).await;
    let nothing = recall(&id, "").await.unwrap_err();
    assert!(matches!(nothing, Error::Reason), "{nothing:?}");
    // Its roster is another one by now: nobody would take the result.
    let own = all.suspension_of("carol").await;
    all.file(StatementKind::Suspension, &own, "carol").await;
    let result = carried(&all, &file, Look::CarryOut).await.unwrap();
    let refused = import(&all, &result).await.unwrap_err();
    assert!(refused.to_string().contains("executor recall"), "{refused}");
    recall(&id, "carol is suspended").await.unwrap();
    assert_eq!(all.state().await, "generate failed | abandoned | - | pair");
    assert_eq!(
        all.last_act().await,
        "ceremony failed: recalled: carol is suspended"
    );
    assert!(all.store.held_executions().await.unwrap().is_empty());
    for twice in [
        recall(&id, "again").await.map(drop).unwrap_err(),
        import(&all, &result).await.unwrap_err(),
    ] {
        assert!(matches!(twice, Error::State { .. }), "{twice:?}");
    }
    // The key that was made there is told where this token is seen, and trusted nowhere.
    let found = all.reconcile().await;
    assert_eq!(
        found,
        ["recorded as destroyed but still on the token -> reported"]
    );
}

#[tokio::test]
async fn a_recalled_destruction_is_told_until_another_one_states_it() {
    let (all, id, file) = destruction().await;
    carried(&all, &file, Look::CarryOut).await.unwrap();
    let recalled = all.service().recall_execution(&id, "lost").await.unwrap();
    assert_eq!(recalled.state, "failed");
    let kid = all.service().kids(&id).await.unwrap().remove(0);
    assert_eq!(
        all.reconcile().await,
        ["missing or incomplete on the token -> reported as CRITICAL"]
    );
    // It is proposed anew; a device says then that it has no such key, which is as good as destroyed.
    all.approved("records", Draft::Destroy { kid }).await;
}
