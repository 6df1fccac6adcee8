//! An alert from its condition to a mail, and to whoever looks after it: over a running service, HTTP and the command line.

use serde_json::{Value, json};

use crate::support::installation::{Installation, text};
use crate::support::process::done;
use crate::support::receiver::{Receiver, configure, header};

const ASSET: &str = "external/partner";

fn register(installation: &Installation) {
    installation.chancery([
        "asset",
        "register",
        ASSET,
        "--key-type",
        "api_key",
        "--storage",
        "wrapped",
        "--rotated-at",
        "2020-01-01T00:00:00.000Z",
    ]);
}

#[test]
fn an_overdue_rotation_is_mailed_acknowledged_silenced_and_resolved() {
    let installation = Installation::new();
    installation.open_ring("integrity");
    let mail = Receiver::mail(&[]);
    let port = mail.address.rsplit_once(':').expect("a port").1;
    configure(
        &installation,
        &format!(
            "[notify.receivers.people]\nkind = \"mail\"\nserver = \"localhost:{port}\"\nsecurity = \"none\"\nallow_private = true\nfrom = \"keys@keys.example\"\nevents = [\"alert.firing\", \"alert.acknowledged\", \"alert.resolved\"]\n[notify.receivers.people.addresses]\nada = \"ada@people.example\"\n"
        ),
    );
    register(&installation);
    let on_call = installation.grant("pager", "on-call");
    // The first look of a service that starts finds it.
    let service = installation.serve();
    let mailed = mail.next();
    let subject = header(&mailed, "Subject");
    assert!(
        subject.contains("critical: rotation-overdue: external/partner"),
        "{subject}"
    );
    let body = mailed["body"].as_str().expect("a body");
    assert!(
        body.contains("deploy/runbooks/rotation-overdue.md"),
        "{body}"
    );
    assert!(
        body.contains("chancery asset show external/partner"),
        "{body}"
    );
    let line = body.lines().map(str::trim);
    let line = line
        .into_iter()
        .find(|line| line.starts_with("chancery alert acknowledge al_"));
    let id = line
        .and_then(|line| line.rsplit(' ').next())
        .expect("a command");

    // What the mail says to type is typed by one, and what HTTP shows is seen by the other.
    let path = format!("/v1/alerts/{id}/silence");
    let silence = json!({ "until": "2020-01-01T00:00:00.000Z", "reason": "x" });
    let refused = service.post(&path, Some(&on_call), &silence);
    assert_eq!(refused.status, 400, "{refused:?}");
    let acknowledged = installation.chancery(["alert", "acknowledge", id]).json();
    assert_eq!(acknowledged["state"], "acknowledged");
    let told = mail.next();
    assert!(header(&told, "Subject").contains("acknowledged: rotation-overdue"));
    let path = format!("/v1/alerts/{id}/acknowledge");
    let again = service.post(&path, Some(&on_call), &json!({}));
    assert_eq!(again.status, 409, "{again:?}");
    let silenced = installation
        .chancery([
            "alert",
            "silence",
            id,
            "--for",
            "1h",
            "--reason",
            "they work on it",
        ])
        .json();
    assert!(silenced["silence"]["until"].is_string(), "{silenced}");
    installation.chancery(["alert", "unsilence", id]);

    // Rotated by whoever keeps it, it is over when that has been so for a minute: two looks of the job.
    let now = silenced["since"].as_str().expect("an instant").to_owned();
    installation.chancery(["asset", "report", ASSET, "--rotated-at", &now]);
    let look = || {
        installation
            .chancery(["job", "run", "key_rotation_health_check"])
            .json()
    };
    look();
    let shown = installation.chancery(["alert", "show", id]).json();
    assert_eq!(
        shown["state"], "acknowledged",
        "not before it holds for a minute"
    );
    let list = installation
        .chancery(["alert", "list", "--name", "rotation-overdue"])
        .json();
    assert_eq!(list["alerts"].as_array().map(Vec::len), Some(1));

    // Who did what is in the audit trail.
    let trail = installation.chancery(["audit", "list", "--acts"]).json();
    let acts: Vec<&Value> = trail
        .as_array()
        .expect("leaves")
        .iter()
        .filter(|leaf| leaf["kind"] == "alert")
        .collect();
    assert_eq!(acts.len(), 3, "{trail}");
    // A minute passes.
    let database = installation.file("chancery.db");
    let passes = "import sqlite3, sys\n\
        with sqlite3.connect(sys.argv[1], timeout=30) as c: c.execute('UPDATE alert SET clear_since = clear_since - 60000')";
    done("python3", ["-c", passes, text(&database)]);
    look();
    let shown = installation.chancery(["alert", "show", id]).json();
    assert_eq!(shown["state"], "resolved");
    assert!(header(&mail.next(), "Subject").contains("resolved: rotation-overdue"));
}

/// What a contact gets: with this in its subject.
/// What many conditions begin at once is looked after by one command, and each of them is in the audit trail.
#[test]
fn all_alerts_of_a_rule_are_acknowledged_and_silenced_by_one_command() {
    let installation = Installation::new();
    let assets: Vec<String> = (0..25).map(|n| format!("external/partner-{n}")).collect();
    let rows = assets
        .iter()
        .map(|asset| format!("{asset},api_key,wrapped,2020-01-01T00:00:00.000Z\n"));
    let file = installation.file("assets.csv");
    let header = "asset,key_type,storage,rotated_at\n".to_owned();
    std::fs::write(&file, header + &rows.collect::<String>()).expect("written");
    installation.chancery(["asset", "import", text(&file), "--apply"]);
    installation.chancery(["job", "run", "key_rotation_health_check"]);
    let rule = ["--rule", "rotation-overdue", "--reason", "the backlog"];
    let acknowledge = || {
        installation
            .chancery([&["alert", "acknowledge"][..], &rule].concat())
            .json()
    };
    assert_eq!(acknowledge()["changed"], 25);
    let again = acknowledge();
    assert_eq!((&again["changed"], &again["left"]), (&json!(0), &json!(0)));
    let silence = [&["alert", "silence"][..], &rule, &["--for", "4h"]].concat();
    let silenced = installation.chancery(silence.clone()).json();
    assert_eq!(silenced["changed"], 25);
    let list = ["alert", "list", "--name", "rotation-overdue"];
    let list = installation.chancery(list).json();
    for alert in list["alerts"].as_array().expect("alerts") {
        assert_eq!(alert["state"], "acknowledged", "{alert}");
        assert!(alert["silence"]["until"].is_string(), "{alert}");
    }
    let acts = installation.chancery(["audit", "list", "--acts", "--limit", "200"]);
    let acts = acts.json();
    let of_alerts = acts.as_array().expect("leaves").iter();
    assert_eq!(of_alerts.filter(|leaf| leaf["kind"] == "alert").count(), 50);
    // Neither one alert nor a rule, and both.
    for words in [
        &["alert", "acknowledge"][..],
        &["alert", "acknowledge", "al_1", "--rule", "rotation-overdue"],
    ] {
        let refused = installation.try_chancery(words.to_vec());
        assert_eq!(refused.code, Some(2), "{refused:?}");
    }
}

fn mailed(mail: &Receiver, to: &str, words: &str) -> Value {
    mail.next_where(|mail| mail["to"][0] == to && header(mail, "Subject").contains(words))
}

#[test]
fn a_report_calls_a_level_and_what_is_decided_for_the_outside_is_mailed() {
    let installation = Installation::new();
    installation.open_ring("integrity");
    let mail = Receiver::mail(&[]);
    let port = mail.address.rsplit_once(':').expect("a port").1;
    configure(
        &installation,
        &format!(
            "[notify.receivers.people]\nkind = \"mail\"\nserver = \"localhost:{port}\"\nsecurity = \"none\"\nallow_private = true\nfrom = \"keys@keys.example\"\n\
             [notify.receivers.people.contacts]\ndesk = \"desk@people.example\"\nweekly = \"weekly@people.example\"\npress = \"press@people.example\"\n\
             [notify.escalation.operations]\nto = [\"people/desk\"]\n\
             [notify.digest]\nto = [\"people/weekly\"]\n\
             [notify.audiences.partners]\nto = [\"people/press\"]\n"
        ),
    );
    register(&installation);
    let evidence = installation.file("evidence");
    std::fs::write(&evidence, "commit 1\r\nBcc: eve@evil.example\n{{url}}").expect("written");
    let words = ["emergency", "report", "finding-7", "--asset", ASSET];
    let source = ["--source", "secret {{scanner}}", "--reason", "it is public"];
    let found = ["--evidence", text(&evidence)];
    let report = installation.chancery([&words[..], &source, &found].concat());
    let report = report.json();
    let id = report["id"].as_str().expect("an id").to_owned();
    let _service = installation.serve();

    // Two mails, whichever comes first.
    let weekly = |mail: &Value| mail["to"][0] == "weekly@people.example";
    let is_call = |mail: &Value| {
        let words = "critical for operations: compromise-reported";
        mail["to"][0] == "desk@people.example" && header(mail, "Subject").contains(words)
    };
    let either = || mail.next_where(|mail| weekly(mail) || is_call(mail));
    let mut both = [either(), either()];
    both.sort_by_key(weekly);
    let [called, week] = both;
    // What was said of it is no header and no template.
    let body = called["body"].as_str().expect("a body");
    assert!(body.contains("secret {{scanner}}"), "{body}");
    assert!(!called["headers"].to_string().contains("Bcc"), "{called}");
    let alert = report["alert"].as_str().expect("an alert");
    assert!(
        body.contains(&format!("chancery alert acknowledge {alert}")),
        "{body}"
    );
    assert!(header(&week, "Subject").contains("the week until"));
    let body = week["body"].as_str().expect("a body");
    assert!(
        body.contains("Next week") && body.contains("Signatures"),
        "{body}"
    );

    // Nobody outside is told before it is decided, and then what was decided.
    let about = [
        "--incident",
        &id,
        "--audience",
        "partners",
        "--happened",
        "a key was public",
        "--affected",
        "the partner's key",
        "--done",
        "it was replaced",
        "--to-do",
        "fetch it again",
        "--contact",
        "desk@people.example",
        "--noticed-at",
        "2026-11-30T09:00:00.000Z",
    ];
    let shown = installation.chancery([&["notice", "show"][..], &about].concat());
    let shown = shown.json();
    let why = ["--reason", "they verify with it"];
    let send = [&["notice", "send"][..], &about, &why].concat();
    let decided = installation.chancery(send.clone()).json();
    assert_eq!(decided["decision"], "notify");
    // What is for an audience alone is in no test of the receiver.
    let tested = installation.chancery(["notify", "test", "people"]).json();
    let tested = tested.to_string();
    assert!(
        tested.contains("desk") && !tested.contains("press"),
        "{tested}"
    );
    let press = mailed(&mail, "press@people.example", "Incident cr_");
    let lines = |text: &Value| {
        let text = text.as_str().expect("a text").replace("\r\n", "\n");
        text.trim().to_owned()
    };
    assert_eq!(lines(&press["body"]), lines(&shown["body"]));
    let again = installation.try_chancery(send);
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(said.contains("decided already"), "{said}");
    let to_nobody = [
        "notice",
        "withhold",
        "--incident",
        &id,
        "--audience",
        "customers",
    ];
    installation.chancery([&to_nobody[..], &why].concat());
    let listed = installation.chancery(["notice", "list"]).json();
    let decisions = ["do-not-notify", "notify"];
    for (notice, decision) in listed["notices"]
        .as_array()
        .expect("two")
        .iter()
        .zip(decisions)
    {
        assert_eq!(notice["decision"], decision, "{listed}");
    }

    // The alert ends with the decision about the report.
    let words = ["emergency", "dismiss", &id, "--reason", "a test key"];
    let dismissed = installation.chancery(words).json();
    assert_eq!(dismissed["state"], "dismissed");
}
