//! A hand in the database meets the schema. The store is not asked.

use super::place::Place;
use super::world::*;

pub async fn past_cannot_be_changed(place: Place) {
    use super::super::*;
    let first = place.open_ring("atp").await;
    place
        .store
        .commit_signatures(&[signature(&first, "atp", "s")])
        .await
        .unwrap();
    assert!(place.store.index_signatures(MAX_INDEXED).await.unwrap() > 0);
    assert!(place.store.count_signatures(MAX_INDEXED).await.unwrap() > 0);
    place
        .change(Change::InstallDocuments(vec![DocumentRow {
            place: 0,
            kind: crate::DocumentKind::Genesis,
            version: 1,
            body: vec![1],
            index: None,
        }]))
        .await
        .unwrap();
    place.change(birth("c", 2, "atp")).await.unwrap();
    place
        .change(Change::AddCeremonySignature(CeremonySignatureRow {
            ceremony: digest("c").parse().unwrap(),
            purpose: trust::Purpose::Approve,
            body: Vec::new(),
            signature: "s".into(),
            received_at: trust::Time::from_millis(NOW),
        }))
        .await
        .unwrap();
    place
        .change(Change::GrantCredential(credential(san("a"))))
        .await
        .unwrap();
    place.order("order", "atp", 2).await;
    place.change(ordered("ordered", 1)).await.unwrap();
    for sql in [
        "INSERT INTO log_key_act (subject, idx, act) VALUES ('x', 0, '')",
        "INSERT INTO log_key_accepted (place, idx, kid) VALUES (0, 0, 'x')",
    ] {
        place.raw(sql).await.unwrap();
    }

    for sql in [
        "UPDATE log_leaf SET body = '{}' WHERE idx = 1",
        "DELETE FROM log_leaf WHERE idx = 1",
        "DELETE FROM log_leaf",
        "UPDATE trust_document SET version = 7",
        "DELETE FROM trust_document",
        "UPDATE ceremony_signature SET signature = 't'",
        "DELETE FROM ceremony_signature",
        "UPDATE trust_document SET place = 1",
        "INSERT INTO trust_document (place, kind, version, body)
            SELECT 2, 'roster', 2, body FROM trust_document",
        "INSERT INTO trust_document (place, kind, version, body)
            SELECT 1, 'genesis', 2, body FROM trust_document",
        "DELETE FROM ceremony_line",
        "UPDATE ceremony_line SET seq = seq + 1",
        "UPDATE ceremony_line SET subject = 'ring/other'",
        "UPDATE ceremony_line SET ceremony = 'x'",
        "UPDATE ceremony_line SET created_at = created_at + 1",
        "UPDATE ceremony_line SET done = 2",
        // Done without having been carried out; and carried out, but not done.
        "UPDATE ceremony_line SET done = 1",
        "UPDATE ceremony_line SET done = 0",
        "INSERT INTO ceremony_line (ceremony, subject, seq, done)
            SELECT id, 'ring/other', 1, 1 FROM ceremony",
        "INSERT INTO ceremony_line (ceremony, subject, seq, done)
            SELECT id, 'ring/other', 0, 0 FROM ceremony",
        "INSERT INTO ceremony_line (ceremony, subject, seq, done) VALUES ('x', 'ring/other', 1, 0)",
        "INSERT INTO ceremony_line SELECT * FROM ceremony_line",
        "DELETE FROM order_use",
        "UPDATE order_use SET use_number = 2",
        "INSERT INTO order_use SELECT * FROM order_use",
        "INSERT INTO order_use (order_id, use_number, ceremony)
            SELECT order_id, 2, 'x' FROM order_use",
        "DELETE FROM standing_order",
        "UPDATE standing_order SET uses = 3",
        "UPDATE standing_order SET not_after = not_after + 1",
        "INSERT INTO standing_order SELECT * FROM standing_order",
        // Withdrawn by nobody.
        "UPDATE standing_order SET withdrawn_at = 1",
        "DELETE FROM log_head",
        "DELETE FROM ring",
        "DELETE FROM ceremony",
        "DELETE FROM key_object",
        "DELETE FROM signing_key",
        "DELETE FROM credential",
        "UPDATE log_signature_part SET idx = 0",
        "DELETE FROM log_signature_part",
        "DELETE FROM log_indexed",
        "INSERT INTO log_indexed (id, size) VALUES (2, 0)",
        // The index ahead of the log, or taken back.
        "UPDATE log_indexed SET size = size + 1000",
        "UPDATE log_indexed SET size = size - 1",
        "DELETE FROM log_counted",
        "INSERT INTO log_counted (id, size) VALUES (2, 0)",
        "UPDATE log_counted SET size = size + 1000",
        "UPDATE log_counted SET size = size - 1",
        "DELETE FROM log_key_day",
        "DELETE FROM log_key_block",
        "DELETE FROM log_acted",
        "INSERT INTO log_acted (id, size, accepted) VALUES (2, 0, 0)",
        "UPDATE log_acted SET size = size + 1000",
        "UPDATE log_acted SET size = size - 1",
        "DELETE FROM log_key_act",
        "UPDATE log_key_act SET idx = idx + 1",
        "DELETE FROM log_key_accepted",
        "UPDATE log_key_accepted SET idx = idx + 1",
        // Fewer than were counted, and others.
        "UPDATE log_key_day SET signatures = 0",
        "UPDATE log_key_day SET kid = 'x', signatures = signatures + 1, last_index = last_index + 1",
        "UPDATE log_key_block SET signatures = signatures + 1",
        "UPDATE log_key_block SET first_index = 0, signatures = 2, last_index = last_index + 1",
        // A second head, a shorter log, a version that goes back.
        "INSERT INTO log_head (id, size, version) VALUES (2, 0, 0)",
        "UPDATE log_head SET size = size - 1",
        "UPDATE log_head SET version = version - 1",
        // A leaf twice, a gap, a signature without its hash or its key, an unknown kind.
        "INSERT INTO log_leaf (idx, time, kind, body) VALUES (0, 0, 'admin', '{}')",
        "INSERT INTO log_leaf (idx, time, kind, body) VALUES (500, 0, 'admin', '{}')",
        "INSERT INTO log_leaf (idx, time, kind, body)
            SELECT size, 0, 'sign', '{}' FROM log_head",
        "INSERT INTO log_leaf (idx, time, kind, body)
            SELECT size, 0, 'rumour', '{}' FROM log_head",
    ] {
        place.refuses(sql).await;
    }
}

pub async fn rows_keep_what_they_were_born_with(place: Place) {
    place.open_ring("atp").await;
    for sql in [
        "UPDATE ring SET usage = 'raw', version = version + 1",
        "UPDATE ring SET algorithm = 'ES384', version = version + 1",
        "UPDATE ring SET key_spec = 'P-384', version = version + 1",
        "UPDATE ring SET version = version - 1",
        "UPDATE ring SET version = version + 2",
        "UPDATE signing_key SET spki = transcript FROM ceremony",
        "UPDATE signing_key SET kid = '0123456789012345678901234567890123456789012'",
        "UPDATE signing_key SET number = 2",
        "UPDATE signing_key SET published_at = 0",
        "UPDATE signing_key SET ceremony = 'x'",
        "UPDATE signing_key SET object = 'x'",
        "UPDATE key_object SET id = 'x'",
        "UPDATE key_object SET kind = 'key-vault'",
        "UPDATE key_object SET device = 'x'",
        "UPDATE key_object SET place = 'x'",
        "UPDATE key_object SET location = 'x'",
        "UPDATE key_object SET location = NULL",
        "UPDATE key_object SET label = 'x'",
        "UPDATE key_object SET kid = 'x'",
        "UPDATE key_object SET number = 2",
        "UPDATE ceremony SET request = transcript",
        "UPDATE ceremony SET transcript = request",
        "UPDATE ceremony SET execution = NULL",
        "UPDATE ceremony SET operation = 'revoke'",
        "UPDATE ceremony SET ring = NULL",
        "UPDATE ceremony SET nonce = '00000000000000000000000000000000'",
    ] {
        place.refuses(sql).await;
    }
}

pub async fn half_states_and_jumps_are_refused(place: Place) {
    let first = place.open_ring("atp").await;
    place.prepared("atp-2", "atp", 2).await;
    place.intended("atp-3", "atp", 3).await;
    // In the same place as the one that is being carried out.
    let row = ceremony("c", "destroy", Some("atp"));
    place
        .change(propose(row, &[line(&of_ring("atp"), 3)]))
        .await
        .unwrap();
    place.approved("d", "atp").await;
    let (c, d, under_way) = (digest("c"), digest("d"), digest("atp-3"));
    let sql = |text: &str| text.to_owned();
    let mut all = vec![
        // A second primary; a role without being active, and the other way round.
        sql(
            "UPDATE signing_key SET state = 'active', role = 'primary', activated_at = 1
             WHERE number = 2",
        ),
        sql("UPDATE signing_key SET role = 'secondary' WHERE number = 2"),
        sql("UPDATE signing_key SET role = NULL WHERE number = 1"),
        sql("UPDATE signing_key SET role = 'tertiary' WHERE number = 1"),
        sql("UPDATE signing_key SET state = 'active', role = 'secondary' WHERE number = 2"),
        // The primary does not retire, a prepared key neither, and nothing is archived at once.
        sql(
            "UPDATE signing_key SET state = 'retired', role = NULL, retired_at = 1
             WHERE number = 1",
        ),
        sql("UPDATE signing_key SET state = 'retired', retired_at = 1 WHERE number = 2"),
        sql(
            "UPDATE signing_key SET state = 'archived', retired_at = 1, archived_at = 1
             WHERE number = 2",
        ),
        // Revoked without a time, a time without being revoked, a reason nobody knows.
        sql("UPDATE signing_key SET state = 'revoked', role = NULL WHERE number = 1"),
        sql(
            "UPDATE signing_key SET revoked_at = 1, revocation_reason = 'superseded'
             WHERE number = 2",
        ),
        sql(
            "UPDATE signing_key SET state = 'revoked', revoked_at = 1, revocation_reason = 'x'
             WHERE number = 2",
        ),
        sql("UPDATE signing_key SET compromised_since = 1 WHERE number = 2"),
        // A key out of nowhere, and one that is born active.
        sql("INSERT INTO signing_key SELECT * FROM signing_key WHERE number = 1"),
        // Objects and ceremonies.
        sql("UPDATE key_object SET state = 'abandoned' WHERE number = 1"),
        sql("UPDATE key_object SET state = 'present' WHERE number = 3"),
        sql("UPDATE key_object SET state = 'intended' WHERE number = 1"),
        format!("UPDATE ceremony SET state = 'closed' WHERE id = '{c}'"),
        format!("UPDATE ceremony SET state = 'executing' WHERE id = '{c}'"),
        sql("UPDATE ceremony SET state = 'proposed' WHERE state = 'closed'"),
        format!("UPDATE ceremony SET state = 'draft' WHERE id = '{c}'"),
        format!("UPDATE ceremony SET transcript = request WHERE id = '{c}'"),
        format!("UPDATE ceremony SET state = 'dreaming' WHERE id = '{c}'"),
        // Executed without having begun, or without a word of what was done.
        format!("UPDATE ceremony SET state = 'executed', execution = request WHERE id = '{d}'"),
        format!("UPDATE ceremony SET state = 'executed' WHERE id = '{under_way}'"),
        // A destruction by no ceremony or by one unheard of.
        sql("UPDATE key_object SET state = 'destroying' WHERE number = 1"),
        sql("UPDATE key_object SET destruction = 'x' WHERE number = 1"),
        sql("INSERT INTO ring SELECT * FROM ring"),
    ];
    let nobody = kid("nobody");
    for (object, ceremony) in [
        (object_id("x"), digest("x")),
        (object_id("atp-3"), digest("x")),
    ] {
        all.push(format!(
            "INSERT INTO signing_key (kid, ring, number, state, spki, object,
                published_at, activate_at, retire_at, ceremony)
             SELECT '{nobody}', ring, 9, 'prepared', request, '{object}', 0, 0, 0,
                '{ceremony}' FROM ceremony WHERE id = '{c}'"
        ));
    }
    for sql in &all {
        place.refuses(sql).await;
    }
    // A revocation is final. It has used its place up, and keeps it.
    let revoke = place.revocation("stop", "atp", &first).await;
    let stop = digest("stop");
    let executing = format!("UPDATE ceremony SET state = 'executing' WHERE id = '{stop}'");
    place.refuses(&executing).await;
    place.change(revoke).await.unwrap();
    place
        .refuses("UPDATE ceremony_line SET done = 0 WHERE subject = 'ring/atp' AND seq = 1")
        .await;
    place
        .refuses(&format!(
            "UPDATE ceremony SET state = 'failed' WHERE id = '{stop}'"
        ))
        .await;
    for sql in [
        "UPDATE signing_key SET state = 'active', role = 'primary', revoked_at = NULL,
            revocation_reason = NULL, compromised_since = NULL WHERE number = 1",
        "UPDATE signing_key SET compromised_since = compromised_since + 1 WHERE number = 1",
        "UPDATE signing_key SET revoked_at = revoked_at + 1 WHERE number = 1",
        "UPDATE signing_key SET revocation_reason = 'unspecified', compromised_since = NULL
            WHERE number = 1",
    ] {
        place.refuses(sql).await;
    }
}
