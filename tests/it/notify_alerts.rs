//! Conditions in a real Alertmanager (Debian `prometheus-alertmanager`), which is configured as in deploy/alertmanager.

use serde_json::json;

use crate::support::database::Database;
use crate::support::installation::{Installation, text};
use crate::support::monitoring::{Alertmanager, People};
use crate::support::process::until;
use crate::support::receiver::configure;

const RING: &str = "integrity";

#[test]
fn deadlines_and_alerts_fire_in_an_alertmanager_until_they_are_over() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let alertmanager = Alertmanager::start(&installation);
    receives(&installation, &alertmanager);
    installation.chancery(["notify", "test", "am"]);
    assert_eq!(alertmanager.active("ChanceryNotificationTest").len(), 1);
    // Of an alert of the service as well, under the name of its rule.
    is_overdue(&installation);
    let _service = installation.serve();
    let overdue = || alertmanager.active("ChanceryRotationOverdue");
    until("the alert fires", || overdue().len() == 1);
    let alert = overdue().remove(0);
    assert_eq!(alert["labels"]["severity"], "critical");
    assert_eq!(alert["labels"]["subject"], "external/partner");
    let runbook = &alert["annotations"]["runbook_url"];
    assert_eq!(runbook, "deploy/runbooks/rotation-overdue.md");
    let id = alert["labels"]["alert"].as_str().expect("an id").to_owned();
    let silence = ["alert", "silence", &id, "--for", "1h", "--reason", "known"];
    installation.chancery(silence);
    until("it is silenced", || overdue().is_empty());

    let words = ["ceremony", "new", "generate", "--ring", RING];
    let times = ["--approve-within", "24s", "--execute-within", "48s"];
    let id = installation.propose_words(&[&words[..], &times].concat());
    let near = || alertmanager.active("ChanceryCeremonyDeadlineNear");
    until("it fires", || near().len() == 1);
    let labels = near()[0]["labels"].clone();
    assert_eq!(
        (&labels["ceremony"], &labels["severity"]),
        (&id.clone().into(), &"warning".into())
    );
    // Somebody acts in time, or the deadline passes: here it is rejected.
    let berta = &installation.custodians[1];
    installation.chancery([
        "ceremony",
        "reject",
        &id,
        "--key",
        text(berta.key_file()),
        "--reason",
        "no",
    ]);
    until("it is resolved", || near().is_empty());

    one_condition_never_hides_another(&alertmanager);
}

fn receives(installation: &Installation, alertmanager: &Alertmanager) {
    configure(
        installation,
        &format!(
            "[notify.receivers.am]\nkind = \"alertmanager\"\nurl = \"http://{}\"\nallow_private = true\n",
            alertmanager.address
        ),
    );
}

/// An asset whose rotation is overdue.
fn is_overdue(installation: &Installation) {
    let asset = [
        "asset",
        "register",
        "external/partner",
        "--key-type",
        "api_key",
    ];
    let old = [
        "--storage",
        "wrapped",
        "--rotated-at",
        "2020-01-01T00:00:00.000Z",
    ];
    installation.chancery([&asset[..], &old].concat());
}

/// It forgot what holds, and hears it with the next minute; whom it told of it, it knows.
#[test]
fn fault_an_alertmanager_that_was_restarted_has_the_alert_within_a_minute_and_tells_nobody_again() {
    let installation = Installation::new();
    let people = People::start();
    let mut alertmanager = Alertmanager::telling(&installation, &people);
    receives(&installation, &alertmanager);
    is_overdue(&installation);
    let _service = installation.serve();
    let told = people.next();
    let of = &told["alerts"][0]["labels"];
    assert_eq!(
        (&told["status"], &of["alertname"], &of["subject"]),
        (
            &json!("firing"),
            &json!("ChanceryRotationOverdue"),
            &json!("external/partner")
        )
    );
    let overdue = || alertmanager.active("ChanceryRotationOverdue");
    let before = overdue().remove(0);
    let mut database = Database::open(&installation.sqlite_url());
    until("it is written down that it was told", || {
        database.one("SELECT CAST(COUNT(*) AS TEXT) FROM outbox_alert WHERE told_at IS NULL") == "0"
    });
    alertmanager.restart();
    let overdue = || alertmanager.active("ChanceryRotationOverdue");
    assert!(overdue().is_empty(), "it is not told of again before");
    // A minute passes.
    database.run("UPDATE outbox_alert SET told_at = told_at - 60000");
    until("the alert is there again", || overdue().len() == 1);
    let after = overdue().remove(0);
    assert_eq!(after["labels"], before["labels"]);
    assert_eq!(after["startsAt"], before["startsAt"]);
    // What they are told next is what is new, which waits no shorter than the other did.
    let labels = json!({"alertname": "ChanceryExpiry", "severity": "warning"});
    alertmanager.post(&json!([{ "labels": labels }]));
    let told = people.next();
    assert_eq!(told["alerts"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(told["alerts"][0]["labels"], labels, "{told}");
}

/// What follows from a condition is inhibited, and nothing else: not another asset, replica or environment.
fn one_condition_never_hides_another(alertmanager: &Alertmanager) {
    let of = |name: &str, severity: &str, more: &[(&str, &str)]| {
        let mut labels = json!({"alertname": name, "severity": severity});
        for (label, value) in more {
            labels[label] = json!(value);
        }
        json!({ "labels": labels })
    };
    let in_staging = [("environment", "staging"), ("subject", "external/a")];
    let elsewhere = [("environment", "production"), ("subject", "external/b")];
    let [a, b] = ["a", "b"].map(|instance| [("job", "chancery"), ("instance", instance)]);
    alertmanager.post(&json!([
        of("ChanceryExpiry", "critical", &in_staging),
        of("ChanceryExpiry", "warning", &in_staging),
        of("ChanceryExpiry", "warning", &elsewhere),
        of("ChanceryDatabaseUnavailable", "critical", &a),
        of("ChanceryRingNotReady", "critical", &a),
        of("ChanceryRingNotReady", "critical", &b),
        of("ChanceryLogNotIntegrated", "critical", &a[..1]),
    ]));
    let told = |name: &str, label: &str| {
        let alerts = alertmanager.active(name).into_iter();
        let mut told: Vec<String> = alerts
            .map(|alert| {
                let labels = &alert["labels"];
                format!("{} {}", labels["severity"], labels[label]).replace('"', "")
            })
            .collect();
        told.sort();
        told
    };
    until("what follows is inhibited", || {
        told("ChanceryExpiry", "subject") == ["critical external/a", "warning external/b"]
            && told("ChanceryRingNotReady", "instance") == ["critical b"]
    });
    assert_eq!(
        told("ChanceryLogNotIntegrated", "job"),
        ["critical chancery"]
    );
    assert_eq!(
        told("ChanceryDatabaseUnavailable", "instance"),
        ["critical a"]
    );
}
