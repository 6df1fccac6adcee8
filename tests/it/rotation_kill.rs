//! A rotation of a ring on a real token, by processes that die at each of its steps: each is followed by another one, and
//! whatever the dead one had done is found and not done again.

use std::collections::BTreeMap;

use testkit::postgres::Server;

use crate::support::database::Database;
use crate::support::executor::on_token;
use crate::support::installation::{directory, member};
use crate::support::simulated::{DAY, RING, Simulated};

/// Before the executor has made the key: the step `generate` asks for it.
const ASKS: [&str; 6] = [
    "rotation-pre-check-intended",
    "rotation-pre-check-done",
    "rotation-pre-check-recorded",
    "rotation-generate-intended",
    "rotation-filed",
    "rotation-generate-done",
];

/// Until it has to have been published for a day.
const PUBLISHES: [&str; 8] = [
    "rotation-generate-done",
    "rotation-generate-recorded",
    "rotation-publish-intended",
    "rotation-publish-done",
    "rotation-publish-recorded",
    "rotation-test-intended",
    "rotation-test-done",
    "rotation-test-recorded",
];

/// Until both keys have to have worked for a day.
const PROMOTES: [&str; 4] = [
    "rotation-promote-intended",
    "rotation-applied",
    "rotation-promote-done",
    "rotation-promote-recorded",
];

/// Until its end.
const RETIRES: [&str; 7] = [
    "rotation-watch-intended",
    "rotation-watch-done",
    "rotation-watch-recorded",
    "rotation-retire-intended",
    "rotation-applied",
    "rotation-retire-done",
    "rotation-retire-recorded",
];

struct Killed {
    world: Simulated,
    database: Database,
    id: String,
}

impl Killed {
    fn dies(&mut self, steps: &[&str]) {
        for step in steps {
            let said = self.world.execute(&self.id, step);
            assert_eq!(said.code, None, "{step}: {said:?}");
            // Whoever died has it for the rest of its lease, and nobody else does anything meanwhile.
            let before = self.rows();
            assert_eq!(self.world.execute(&self.id, "").code, Some(0), "{step}");
            assert_eq!(self.rows(), before, "{step}");
            let over = "UPDATE rotation_event SET lease_until = 0";
            self.database.run(over);
        }
    }

    fn rows(&mut self) -> Vec<Vec<String>> {
        let sql = "SELECT step, CAST(attempt AS TEXT), outcome FROM rotation_step ORDER BY place";
        self.database.rows(sql)
    }

    fn goes_on(&self) -> serde_json::Value {
        let said = self.world.execute(&self.id, "");
        assert_eq!(said.code, Some(0), "{said:?}");
        said.json()
    }
}

#[test]
fn a_process_that_dies_at_any_step_of_a_rotation_is_followed_by_another() {
    let server = Server::start().expect("PostgreSQL starts");
    let url = server.create_database("chancery_it").expect("a database");
    let world = Simulated::new(directory(), &url, "2");
    let mut killed = Killed {
        id: world.scheduled(),
        database: Database::open(&url),
        world,
    };
    killed.dies(&ASKS);
    let waits = killed.goes_on();
    assert_eq!(waits["waits"], "executor", "{waits}");
    let made = killed.world.executor_once();
    assert_eq!(made["executed"].as_array().map(Vec::len), Some(1), "{made}");
    killed.dies(&PUBLISHES);
    killed.goes_on();
    killed.world.passes(DAY);
    killed.dies(&PROMOTES);
    killed.goes_on();
    killed.world.passes(DAY);
    killed.dies(&RETIRES);
    let done = killed.goes_on();
    assert_eq!(done["state"], "done", "{done}");

    // Each step once, by whoever came to its end.
    let rows = killed.rows();
    assert_eq!(rows.len(), 7, "{rows:?}");
    assert!(rows.iter().all(|row| row[1..] == ["1", "done"]), "{rows:?}");
    // One use, one key, one promotion, one retirement.
    let installation = &killed.world.installation;
    let order = ["order", "show", &killed.world.order];
    assert_eq!(installation.chancery(order).json()["left"], 1);
    let ring = installation.chancery(["ring", "show", RING]).json();
    let keys = ring["keys"].as_array().expect("keys").iter();
    let states: Vec<String> = keys.map(|key| member(key, "state")).collect();
    assert_eq!(states, ["retired", "primary"]);
    assert_eq!(on_token(installation).len(), 2);
    let mut acts = BTreeMap::<String, usize>::new();
    let bodies = "SELECT body FROM log_leaf WHERE kind IN ('rotation', 'ring', 'key')";
    for row in killed.database.rows(bodies) {
        let body: serde_json::Value = serde_json::from_str(&row[0]).expect("a leaf");
        *acts.entry(member(&body, "action")).or_default() += 1;
    }
    for once in ["begin", "promote", "done", "retire"] {
        assert_eq!(acts.get(once), Some(&1), "{once}: {acts:?}");
    }
    // By hand before the order, and by the engine.
    assert_eq!(acts.get("rotate"), Some(&2), "{acts:?}");
    let checked = installation.try_chancery(["log", "check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}
