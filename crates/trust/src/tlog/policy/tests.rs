use proptest::prelude::*;

use super::*;
use crate::digest::Sha256Digest;
use crate::tlog::tests::Signer;

#[test]
fn the_example_of_the_specification() {
    // c2sp.org/tlog-policy, section Example policy.
    let log = Signer::log("example.com/log");
    let witnesses: Vec<Signer> = ["X1", "X2", "X3", "Y1", "Y2", "Y3"]
        .map(|name| Signer::witness(&format!("{}.example", name.to_lowercase())))
        .into();
    let keys: Vec<String> = witnesses.iter().map(|w| w.key.to_string()).collect();
    let text = format!(
        "log {}\n\nwitness X1 {}\nwitness X2 {}\nwitness X3 {}\ngroup X-witnesses 2 X1 X2 X3\n\nwitness Y1 {}\nwitness Y2 {}\nwitness Y3 {}\ngroup Y-witnesses any Y1 Y2 Y3\n\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        log.key, keys[0], keys[1], keys[2], keys[3], keys[4], keys[5]
    );
    let policy = WitnessPolicy::parse(&text).unwrap();
    let mut note = log.checkpoint(7, Sha256Digest::of(b"root"));
    for (witness, seconds, complete) in [
        (0, 50, None),
        (1, 40, None),
        (2, 60, None),
        (5, 30, Some(50)),
        (4, 70, Some(50)),
    ] {
        let line = witnesses[witness].cosign(&note.text, seconds);
        note.signatures.push(line);
        let witnessed = policy.satisfied(&note).unwrap();
        assert_eq!(witnessed.at, complete.map(at));
        assert_eq!(witnessed.complete, complete.is_some());
        assert_eq!(witnessed.cosigners.len() + 1, note.signatures.len());
    }
}

/// Witnesses A to H, whose lines [`World::read`] puts first.
struct World(Vec<Signer>);

impl World {
    fn new() -> Self {
        Self(
            ('A'..='H')
                .map(|name| Signer::witness(&format!("{name}.example")))
                .collect(),
        )
    }

    fn lines(&self) -> String {
        ('A'..='H')
            .zip(&self.0)
            .map(|(name, witness)| format!("witness {name} {}\n", witness.key))
            .collect()
    }

    fn read(&self, rest: &str) -> Result<WitnessPolicy, PolicyError> {
        WitnessPolicy::parse(&(self.lines() + rest))
    }

    /// What is wrong on the line `rest` begins with.
    fn refused(&self, rest: &str) -> LineError {
        match self.read(rest) {
            Err(PolicyError::Line { line: 9, source }) => source,
            other => panic!("{rest:?}: {other:?}"),
        }
    }
}

const TEXT: &str = "log\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

#[test]
fn lines_as_they_may_be_written() {
    let world = World::new();
    for rest in [
        "quorum A",
        "quorum none\n",
        "\n  \t \n# quorum C\n\t#\u{e9}\n \tquorum\t A  \n",
        "group g all A B\nquorum g\n",
        "group any any A\ngroup all all any B\nquorum all\n",
        "group 1 1 A\nquorum 1\n",
        "group \u{e9} 2 A B\nquorum \u{e9}\n",
    ] {
        let policy = world.read(rest).unwrap();
        assert_eq!(policy.witnesses().len(), 8, "{rest}");
    }
    let log = Signer::ecdsa_log("example.com/log").key;
    let witness = &world.0[0].key;
    let text = format!("log {log} https://log\nwitness A {witness} https://w\nquorum none\n");
    let policy = WitnessPolicy::parse(&text).unwrap();
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log"));
    assert_eq!(policy.log_keys(), [log]);
    assert_eq!(policy.witnesses()[0].url.as_deref(), Some("https://w"));
    assert_eq!(
        (
            &policy.witnesses()[0].key,
            policy.witnesses()[0].name.as_str()
        ),
        (witness, "A")
    );
    assert_eq!(
        WitnessPolicy::parse("quorum none").unwrap(),
        WitnessPolicy::none()
    );
}

#[test]
fn lines_that_are_refused() {
    use LineError as E;
    let world = World::new();
    let (log, witness) = (Signer::log("log").key, Signer::witness("w").key);
    let again = &world.0[3].key;
    // The same key under another name is still the same key.
    let renamed = VerifierKey::cosigner("other", &{
        let spki = again.public().to_spki_der();
        spki[spki.len() - 32..].try_into().unwrap()
    })
    .unwrap();
    let refused = |rest: &str| world.refused(rest);
    assert!(matches!(refused("quorum A\r\n"), E::Control));
    assert!(matches!(refused("# \u{7f}\n"), E::Control));
    assert!(matches!(refused("# \0\n"), E::Control));
    assert!(matches!(refused("Quorum A\n"), E::Word(_)));
    assert!(matches!(refused("quorum\u{a0}A\n"), E::Word(_)));
    for rest in [
        "quorum",
        "quorum A B",
        "log",
        "group",
        "group g",
        "group g any",
        "witness x",
    ] {
        assert!(matches!(refused(rest), E::Items), "{rest}");
    }
    assert!(matches!(refused(&format!("log {log} url more")), E::Items));
    assert!(matches!(
        refused(&format!("witness x {witness} url more")),
        E::Items
    ));
    assert!(matches!(refused("log x"), E::Key(_)));
    assert!(matches!(refused("witness x y"), E::Key(_)));
    assert!(matches!(refused(&format!("log {witness}")), E::Type));
    assert!(matches!(refused(&format!("witness x {log}")), E::Type));
    assert!(matches!(
        refused(&format!("witness x {again}")),
        E::DuplicateKey
    ));
    assert!(matches!(
        refused(&format!("witness x {renamed}")),
        E::DuplicateKey
    ));
    assert!(matches!(
        refused(&format!("witness A {witness}")),
        E::Taken(_)
    ));
    assert!(matches!(
        refused(&format!("witness none {witness}")),
        E::Taken(_)
    ));
    assert!(matches!(refused("group A any B"), E::Taken(_)));
    assert!(matches!(refused("group none any B"), E::Taken(_)));
    for rest in [
        "quorum x",
        "group g any x",
        "group g any none",
        "group g any g",
    ] {
        assert!(matches!(refused(rest), E::Undefined(_)), "{rest}");
    }
    assert!(matches!(refused("group g any A A"), E::CountedTwice(_)));
    for threshold in [
        "0",
        "3",
        "01",
        "+1",
        "-1",
        "1.0",
        "ALL",
        "18446744073709551617",
    ] {
        let rest = format!("group g {threshold} A B");
        assert!(matches!(refused(&rest), E::Threshold(_)), "{rest}");
    }

    let second = |rest: &str| match world.read(rest) {
        Err(PolicyError::Line { line: 10, source }) => source,
        other => panic!("{rest:?}: {other:?}"),
    };
    assert!(matches!(
        second("group g any A B\ngroup h any B C"),
        E::CountedTwice(_)
    ));
    assert!(matches!(
        second("group g any A B\ngroup g any C"),
        E::Taken(_)
    ));
    assert!(matches!(second("quorum A\nquorum A"), E::SecondQuorum));
    assert!(matches!(
        second("quorum none\nquorum none"),
        E::SecondQuorum
    ));
    assert!(matches!(
        second(&format!("log {log}\nlog {log}")),
        E::DuplicateKey
    ));
    assert!(matches!(world.read(""), Err(PolicyError::NoQuorum)));
    assert!(matches!(
        WitnessPolicy::parse(""),
        Err(PolicyError::NoQuorum)
    ));
    assert!(matches!(
        world.read(&"#".repeat(MAX_LEN)),
        Err(PolicyError::TooLong)
    ));
}

#[test]
fn a_known_witness_that_did_not_sign_this_refuses_the_note() {
    let world = World::new();
    let mut note = Note {
        text: TEXT.to_owned(),
        signatures: vec![
            world.0[0].cosign(TEXT, 5),
            Signer::witness("stranger").cosign(TEXT, 5),
        ],
    };
    let policy = world.read("quorum A\n").unwrap();
    let witnessed = policy.satisfied(&note).unwrap();
    assert_eq!(witnessed.cosigners, [("A.example".to_owned(), at(5))]);
    // H is not in the quorum, and known.
    note.signatures
        .push(world.0[7].cosign("something else\n", 5));
    let error = NoteError::BadSignature("H.example".to_owned());
    assert_eq!(policy.satisfied(&note), Err(error));
}

#[test]
fn without_a_quorum_there_is_no_time() {
    let world = World::new();
    let note = Note {
        text: TEXT.to_owned(),
        signatures: vec![world.0[0].cosign(TEXT, 5)],
    };
    let witnessed = world
        .read("quorum none\n")
        .unwrap()
        .satisfied(&note)
        .unwrap();
    assert!(witnessed.complete);
    assert_eq!((witnessed.at, witnessed.cosigners.len()), (None, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// At the instant that is given the cosignatures made until then are enough, and before it they
    /// are not. Two groups in a third, with thresholds of every kind.
    #[test]
    fn the_instant_is_when_the_quorum_became_complete(
        times in prop::collection::vec(prop::option::of(1..12u64), 8),
        (left, right, both) in (1..=4usize, 1..=3usize, 1..=3usize),
    ) {
        let world = World::new();
        let rest = format!(
            "group L {left} A B C D\ngroup R {right} E F G\ngroup Q {both} L R H\nquorum Q\n"
        );
        let policy = world.read(&rest).unwrap();
        let until = |limit: u64| Note {
            text: TEXT.to_owned(),
            signatures: world.0.iter().zip(&times)
                .filter_map(|(witness, time)| Some((witness, (*time)?)))
                .filter(|(_, time)| *time <= limit)
                .map(|(witness, time)| witness.cosign(TEXT, time))
                .collect(),
        };
        let enough = |limit: u64| {
            let has = |place: usize| usize::from(times[place].is_some_and(|time| time <= limit));
            let l = usize::from((0..4).map(has).sum::<usize>() >= left);
            let r = usize::from((4..7).map(has).sum::<usize>() >= right);
            l + r + has(7) >= both
        };
        let expected = (0..12).find(|limit| enough(*limit));
        let witnessed = policy.satisfied(&until(12)).unwrap();
        prop_assert_eq!(witnessed.at, expected.map(|second| at(second.try_into().unwrap())));
        prop_assert_eq!(witnessed.complete, expected.is_some());
        if let Some(second) = expected {
            prop_assert_eq!(policy.satisfied(&until(second)).unwrap().at, witnessed.at);
            prop_assert!(!policy.satisfied(&until(second - 1)).unwrap().complete);
        }
    }
}

/// What a cosignature of this second proves: the end of it.
fn at(seconds: i64) -> crate::Time {
    crate::testing::at(seconds) + std::time::Duration::from_millis(999)
}
