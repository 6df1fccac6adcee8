use super::*;

#[test]
fn the_message_of_the_specification() {
    // c2sp.org/tlog-cosignature, section Ed25519 signed message.
    let text =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let expected = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(message(text, 1_679_315_147), expected.as_bytes());
}
