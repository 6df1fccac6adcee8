//! Mail through a real mail server, to custodians who have nothing but the mail, their key and the program.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;

use crate::support::custodian::Custodian;
use crate::support::installation::{Installation, text};
use crate::support::process::{Said, run, until};
use crate::support::receiver::{Receiver, configure, header};

const RING: &str = "integrity";
const PASSWORD: &str = "correct-horse-battery";

/// Of the three, in two languages.
const PEOPLE: &str = r#"
[notify.receivers.people.addresses]
ada = "ada@people.example"
berta = "berta@people.example"
carl = "carl@people.example"
[notify.receivers.people.languages]
carl = "de"
"#;

fn plain(receiver: &Receiver) -> String {
    let port = receiver.address.rsplit_once(':').expect("a port").1;
    format!(
        "[notify.receivers.people]\nkind = \"mail\"\nserver = \"localhost:{port}\"\nsecurity = \"none\"\nallow_private = true\nfrom = \"keys@keys.example\"\ntimeout = \"10s\"\n{PEOPLE}"
    )
}

/// For localhost, by an authority of its own.
fn certificate(installation: &Installation) {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
    let issued = params.signed_by(&key, &authority).expect("a certificate");
    for (name, pem) in [
        ("mail-ca.pem", authority.pem()),
        ("mail.pem", issued.pem()),
        ("mail.key", key.serialize_pem()),
    ] {
        fs::write(installation.file(name), pem).expect("written");
    }
}

fn body(mail: &Value) -> &str {
    mail["body"].as_str().expect("a body")
}

/// The command of the mail that begins so, typed in an empty directory with this key.
fn typed(mail: &Value, command: &str, custodian: &Custodian, more: &[&str]) -> Said {
    let lines = body(mail).lines().map(str::trim);
    let line = lines.into_iter().find(|line| line.starts_with(command));
    let line = line.unwrap_or_else(|| panic!("no {command}: {}", body(mail)));
    let key = text(custodian.key_file());
    let words = line.split_whitespace().skip(1);
    let words = words.map(|word| if word == "KEY" { key } else { word });
    let empty = tempfile::tempdir().expect("a directory");
    let mut typed = Command::new(env!("CARGO_BIN_EXE_chancery"));
    typed
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(empty.path())
        .args(words)
        .args(more);
    run(&mut typed, b"")
}

#[test]
fn a_custodian_who_never_saw_the_tool_approves_with_the_commands_of_the_mail() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    certificate(&installation);
    let [pem, key] = ["mail.pem", "mail.key"].map(|name| installation.file(name));
    let mail = Receiver::mail(&["chancery", PASSWORD, text(&pem), text(&key)]);
    let port = mail.address.rsplit_once(':').expect("a port").1;
    fs::write(installation.file("mail-password"), format!("{PASSWORD}\n")).expect("written");
    configure(
        &installation,
        &format!(
            "[notify.receivers.people]\nkind = \"mail\"\nserver = \"localhost:{port}\"\nallow_private = true\nuser = \"chancery\"\npassword = {{ file = \"mail-password\" }}\nca_file = \"mail-ca.pem\"\nfrom = \"keys@keys.example\"\n{PEOPLE}"
        ),
    );
    let service = installation.serve();
    let id = installation.propose(RING);

    // Those who are asked get one each, over TLS; who proposed does not count and gets none.
    let mut mails = [mail.next(), mail.next()];
    mails.sort_by_key(|mail| mail["to"][0].as_str().map(str::to_owned));
    let [berta, carl] = &mails;
    assert_eq!(berta["to"], serde_json::json!(["berta@people.example"]));
    assert_eq!(carl["to"], serde_json::json!(["carl@people.example"]));
    for mail in &mails {
        assert_eq!(
            (&mail["tls"], &mail["user"]),
            (&true.into(), &"chancery".into())
        );
        assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
        assert!(header(mail, "Content-Type").starts_with("text/plain"));
        assert!(body(mail).contains(&id) && body(mail).contains(&installation.genesis));
    }
    assert!(header(berta, "Subject").contains("Your approval is asked: generate ring/integrity"));
    assert!(header(carl, "Subject").contains("Ihre Zustimmung"));
    let message_id = header(berta, "Message-ID");
    assert!(message_id.ends_with(".berta@keys.example>"), "{message_id}");

    let [_, of_berta, of_carl] = [0, 1, 2].map(|n| &installation.custodians[n]);
    let review = typed(berta, "chancery ceremony review", of_berta, &[]);
    assert_eq!(review.code, Some(0), "{review:?}");
    // What is read aloud is in the review, and not in the mail.
    let shown = String::from_utf8_lossy(&review.stdout).into_owned();
    let digest: trust::Sha256Digest = id.parse().expect("a digest");
    let words = trust::words::words(digest.as_bytes());
    let first: Vec<&str> = words.split_whitespace().take(2).collect();
    assert!(!body(berta).contains(&first.join(" ")), "{}", body(berta));
    assert!(
        shown.contains(first[0]) && shown.contains(first[1]),
        "{shown}"
    );
    for (mail, custodian) in [(berta, of_berta), (carl, of_carl)] {
        let said = typed(mail, "chancery ceremony approve", custodian, &[]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    let subject = |mail: &Value| header(mail, "Subject");
    let approved = mail.next_where(|mail| subject(mail).contains("Approved"));
    assert!(body(&approved).contains("chancery ceremony show"));
    installation.chancery(["ceremony", "execute", &id]);
    let executed = mail.next_where(|mail| subject(mail).contains("Your acceptance is asked"));
    let kid = installation.only_kid(&id);
    assert!(
        !body(&executed).contains(&kid),
        "a kid is read aloud, not mailed"
    );
    let review = typed(&executed, "chancery ceremony review", of_berta, &[]);
    assert_eq!(review.code, Some(0), "{review:?}");
    assert!(String::from_utf8_lossy(&review.stdout).contains(&kid));

    // Nothing tells of the password, whatever is looked at.
    drop(mail);
    let listed = installation.chancery(["notify", "list", "--state", "delivered"]);
    let printed = installation.chancery(["config", "print"]);
    for text in [listed.text(), printed.text(), &service.log()] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn a_mail_that_is_put_off_comes_again_with_its_message_id_and_a_refused_one_is_a_dead_letter() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let mut mail = Receiver::mail(&[]);
    configure(&installation, &plain(&mail));
    let service = installation.serve();
    let tested = installation.chancery(["notify", "test", "people"]).json();
    assert_eq!(tested["sent"].as_array().map(Vec::len), Some(3));
    for _ in 0..3 {
        assert!(header(&mail.next(), "Subject").contains("Test"));
    }

    mail.answers("451 come again");
    installation.propose(RING);
    let first = mail.next();
    assert_eq!(first["answer"], "451 come again");
    mail.answers("250 OK");
    let same = |found: &Value| header(found, "Message-ID") == header(&first, "Message-ID");
    let again = mail.next_where(|found| same(found) && found["answer"] == "250 OK");
    assert_eq!(again["body"], first["body"]);
    until("both are delivered", || {
        let listed = installation.chancery(["notify", "list", "--state", "delivered"]);
        listed.json().as_array().map(Vec::len) == Some(2)
    });

    mail.answers("550 no such person");
    installation.create_ring("other", &[]);
    installation.propose("other");
    let dead = || {
        installation
            .chancery(["notify", "list", "--state", "dead"])
            .json()
    };
    until("they are dead letters", || {
        dead().as_array().map(Vec::len) == Some(2)
    });
    let letter = dead()[0].clone();
    assert!(
        letter["error"].as_str().expect("an error").contains("550"),
        "{letter}"
    );
    assert!(
        service
            .metric("chancery_notifications_given_up_total")
            .is_some()
    );
    let doctor = installation.try_chancery(["doctor"]);
    assert!(
        String::from_utf8_lossy(&doctor.stdout).contains("2 dead letters"),
        "{doctor:?}"
    );
    while !mail.next()["answer"]
        .as_str()
        .expect("one")
        .starts_with("550")
    {}
    mail.answers("250 OK");
    let message = letter["message"].as_str().expect("an id");
    installation.chancery(["notify", "retry", message]);
    // Of this message, to both.
    for _ in 0..2 {
        mail.next_where(|found| found["answer"] == "250 OK");
    }
    until("they are delivered", || {
        let listed = installation.chancery(["notify", "list", "--state", "delivered"]);
        listed.json().as_array().map(Vec::len) == Some(4)
    });
    assert_eq!(dead(), serde_json::json!([]));
    mail.is_quiet_for(Duration::from_secs(3));
}

#[test]
fn threat_a_mail_server_that_wants_the_password_is_not_quoted() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let mail = Receiver::mail(&["chancery", "another-one"]);
    let port = mail.address.rsplit_once(':').expect("a port").1;
    fs::write(installation.file("mail-password"), PASSWORD).expect("written");
    configure(
        &installation,
        &format!(
            "[notify.receivers.people]\nkind = \"mail\"\nserver = \"localhost:{port}\"\nsecurity = \"none\"\nallow_private = true\nuser = \"chancery\"\npassword = {{ file = \"mail-password\" }}\nfrom = \"keys@keys.example\"\n{PEOPLE}"
        ),
    );
    let service = installation.serve();
    installation.propose(RING);
    let waiting = || installation.chancery(["notify", "list"]);
    until("it was tried", || {
        !waiting().json()[0]["error"].is_null() || !waiting().json()[1]["error"].is_null()
    });
    let said = waiting();
    assert!(said.text().contains("535"), "{}", said.text());
    let tested = installation.try_chancery(["notify", "test", "people"]);
    assert_eq!(tested.code, Some(4), "{tested:?}");
    let shown = format!("{tested:?} {} {}", said.text(), service.log());
    assert!(!shown.contains(PASSWORD), "{shown}");
    mail.is_quiet_for(Duration::from_millis(100));
}
