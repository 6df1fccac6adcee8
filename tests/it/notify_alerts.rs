//! Conditions in a real Alertmanager (Debian `prometheus-alertmanager`).

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::http::send;
use crate::support::installation::{Installation, free_port, text};
use crate::support::process::{Running, until};
use crate::support::receiver::configure;

const RING: &str = "integrity";

struct Alertmanager {
    address: String,
    _child: Running,
}

impl Alertmanager {
    fn start(installation: &Installation) -> Self {
        let config = installation.file("alertmanager.yml");
        let text_of = "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n";
        fs::write(&config, text_of).expect("written");
        let address = free_port();
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", text(&config)))
            .arg(format!(
                "--storage.path={}",
                text(&installation.file("alertmanager"))
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("prometheus-alertmanager: {e}: `make setup` installs it"));
        let new = Self {
            address,
            _child: Running::new(child),
        };
        until("the Alertmanager is ready", || {
            send(&new.address, "GET", "/-/ready", &[], b"").is_ok_and(|answer| answer.status == 200)
        });
        new
    }

    /// The alerts of a name that are active.
    fn active(&self, name: &str) -> Vec<Value> {
        let path = "/api/v2/alerts?active=true";
        let answer = send(&self.address, "GET", path, &[], b"").expect("an answer");
        let all: Vec<Value> = serde_json::from_slice(&answer.body).expect("alerts");
        let of = all
            .into_iter()
            .filter(|alert| alert["labels"]["alertname"] == name);
        of.collect()
    }
}

#[test]
fn a_deadline_that_is_near_fires_in_an_alertmanager_until_it_is_over() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let alertmanager = Alertmanager::start(&installation);
    configure(
        &installation,
        &format!(
            "[notify.receivers.am]\nkind = \"alertmanager\"\nurl = \"http://{}\"\nallow_private = true\n",
            alertmanager.address
        ),
    );
    installation.chancery(["notify", "test", "am"]);
    assert_eq!(alertmanager.active("ChanceryNotificationTest").len(), 1);
    let _service = installation.serve();
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
}
