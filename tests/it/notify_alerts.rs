//! Conditions in a real Alertmanager (Debian `prometheus-alertmanager`).

use crate::support::installation::{Installation, text};
use crate::support::monitoring::Alertmanager;
use crate::support::process::until;
use crate::support::receiver::configure;

const RING: &str = "integrity";

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
