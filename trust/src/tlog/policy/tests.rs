use super::*;
use crate::digest::Sha256Digest;
use crate::testing::at;
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
