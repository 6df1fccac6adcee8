//! A log of a few leaves, seen again after something happened to it.

use trust::PublicKey;

use super::*;

const GENESIS: &[u8] = b"genesis";

fn leaf(millis: i64, kid: &str, action: &str) -> Vec<u8> {
    let time = Time::from_millis(millis);
    let kind = if action == "accepted" {
        "ceremony"
    } else {
        "key"
    };
    let (kid, more) = match action {
        "revoke" => (
            "",
            format!("\"previous_kid\":\"{kid}\",\"reason\":\"unspecified\","),
        ),
        _ => (kid, String::new()),
    };
    let kid = match kid {
        "" => String::new(),
        kid => format!("\"kid\":\"{kid}\","),
    };
    format!(
        "{{\"action\":\"{action}\",\"actor\":\"a\",{kid}\"kind\":\"{kind}\",{more}\"ring\":\"atp\",\"time\":\"{time}\",\"v\":1}}"
    )
    .into_bytes()
}

fn checkpoint(watch: &LogReader) -> Checkpoint {
    Checkpoint {
        origin: "log.example".to_owned(),
        size: watch.size(),
        root: watch.frontier.root(),
    }
}

/// A log of these leaves, read and remembered.
fn seen(leaves: &[Vec<u8>]) -> (LogReader, State) {
    let genesis = Sha256Digest::of(GENESIS);
    let mut watch = LogReader::resume(genesis, None).unwrap();
    let mut findings = Findings::default();
    leaves
        .iter()
        .for_each(|leaf| watch.entry(leaf, &mut findings));
    assert!(findings.into_parts().0.is_empty());
    let state = {
        let now = checkpoint(&watch);
        watch.state(&now, &format!("{}\n\u{2014} x AAAAAAA=\n", now.body()))
    };
    (watch, state)
}

fn codes(findings: Findings) -> Vec<&'static str> {
    let (told, _) = findings.into_parts();
    told.into_iter().map(|finding| finding.code).collect()
}

#[test]
fn what_is_remembered_comes_back_and_a_touched_state_does_not() {
    let kid = "A".repeat(43);
    let (_, state) = seen(&[leaf(1, &kid, "accepted"), leaf(2, &kid, "rotate")]);
    let bytes = state.encode().unwrap();
    let genesis = Sha256Digest::of(GENESIS);
    assert_eq!(State::decode(&bytes, genesis).unwrap(), state);
    let other = State::decode(&bytes, Sha256Digest::of(b"another"));
    assert!(matches!(other, Err(BadState::Genesis(_))));
    let text = String::from_utf8(bytes).unwrap();
    let touched = text.replace("\"size\": 2", "\"size\": 1");
    assert_ne!(touched, text);
    assert!(State::decode(touched.as_bytes(), genesis).is_err());
}

#[test]
fn a_log_that_shrank_or_forked_is_told_from_one_that_grew() {
    let kid = "A".repeat(43);
    let leaves = [leaf(1, &kid, "accepted"), leaf(2, &kid, "rotate")];
    let (watch, state) = seen(&leaves);
    let now = checkpoint(&watch);
    let resumed = LogReader::resume(Sha256Digest::of(GENESIS), Some(state.clone())).unwrap();
    assert_eq!(resumed.relation(&now), CheckpointRelation::Same);
    for (changed, standing) in [
        (
            Checkpoint {
                size: 1,
                ..now.clone()
            },
            CheckpointRelation::Shrunk,
        ),
        (
            Checkpoint {
                root: Sha256Digest::of(b"x"),
                ..now.clone()
            },
            CheckpointRelation::Forked,
        ),
        (
            Checkpoint {
                origin: "other".to_owned(),
                ..now.clone()
            },
            CheckpointRelation::Elsewhere,
        ),
        (
            Checkpoint {
                size: 3,
                ..now.clone()
            },
            CheckpointRelation::Grown,
        ),
    ] {
        assert_eq!(resumed.relation(&changed), standing);
    }
    // Grown from what was seen, and from something else.
    let third = leaf(3, &kid, "revoke");
    let (grown, _) = seen(&[leaves[0].clone(), leaves[1].clone(), third.clone()]);
    let (forked, _) = seen(&[leaves[1].clone(), leaves[0].clone(), third.clone()]);
    for (log, ends) in [(grown, true), (forked, false)] {
        let mut watch = LogReader::resume(Sha256Digest::of(GENESIS), Some(state.clone())).unwrap();
        watch.entry(&third, &mut Findings::default());
        assert_eq!(watch.ends_in(&checkpoint(&log)), ends);
    }
}

#[test]
fn leaves_that_are_garbled_or_backdated_are_told() {
    let (mut watch, _) = seen(&[leaf(10_000_000, &"A".repeat(43), "accepted")]);
    let mut findings = Findings::default();
    watch.entry(b"{}", &mut findings);
    watch.entry(
        &leaf(10_000_000 - 300_000, &"E".repeat(43), "accepted"),
        &mut findings,
    );
    watch.entry(
        &leaf(10_000_000 - 300_001, &"I".repeat(43), "accepted"),
        &mut findings,
    );
    assert_eq!(codes(findings), ["unreadable", "backdated"]);
}

#[test]
fn a_published_key_has_its_ceremony_in_the_log_and_lives() {
    // The base point, as good a public key as any.
    let mut point = [0x66; 32];
    point[0] = 0x58;
    let public = PublicKey::ed25519(&point).unwrap();
    let kid = public.kid();
    let certificate = Certificate {
        public,
        ring: "atp".to_owned(),
        prepared_at: Time::from_millis(0),
        digest: Sha256Digest::of(b"transcript"),
        used: None,
    };
    let accepted = |digest: &[u8]| {
        let text = String::from_utf8(leaf(1, kid.as_str(), "accepted")).unwrap();
        let digest = Sha256Digest::of(digest);
        let digest = format!("\"digest\":\"{digest}\",\"kid\"");
        text.replacen("\"kid\"", &digest, 1).into_bytes()
    };
    let good = accepted(b"transcript");
    let known: Result<&Certificate, &str> = Ok(&certificate);
    for (leaves, certificate, expected) in [
        (vec![good.clone()], known, vec![]),
        // A leaf of an older program.
        (vec![leaf(1, kid.as_str(), "accepted")], known, vec![]),
        (vec![], known, vec!["key_unlogged"]),
        (
            vec![leaf(1, kid.as_str(), "rotate")],
            known,
            vec!["key_unlogged"],
        ),
        (
            vec![good.clone()],
            Err("no transcript"),
            vec!["key_unlogged"],
        ),
        (vec![accepted(b"another")], known, vec!["key_unlogged"]),
        (
            vec![good.clone(), leaf(2, kid.as_str(), "revoke")],
            known,
            vec!["revoked_in_jwks"],
        ),
        (
            vec![good, leaf(2, kid.as_str(), "retire")],
            known,
            vec!["history"],
        ),
    ] {
        let (watch, _) = seen(&leaves);
        let mut findings = Findings::default();
        let key = Published {
            kid: &kid,
            certificate,
        };
        watch.published(&[key], &mut findings);
        assert_eq!(codes(findings), expected);
    }
}

#[test]
fn silence_is_told() {
    let (watch, _) = seen(&[leaf(10_000, &"A".repeat(43), "accepted")]);
    let max_age = Duration::from_secs(1);
    let mut findings = Findings::default();
    watch.fresh(None, max_age, Time::from_millis(11_000), &mut findings);
    assert_eq!(codes(findings), Vec::<&str>::new());
    let mut findings = Findings::default();
    watch.fresh(None, max_age, Time::from_millis(11_001), &mut findings);
    assert_eq!(codes(findings), ["stale"]);
}
