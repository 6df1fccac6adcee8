//! What is trusted in one environment is worth nothing in another.

use crate::ceremony_database::{Case, RING, does_not_start};
use crate::support::process::run;

#[test]
fn another_environment_trusts_nothing_of_this_one() {
    let case = Case::sqlite();
    let other = [("CHANCERY_SERVICE__ENVIRONMENT", "production")];
    does_not_start(&case.installation, &other, "do not verify");
    let genesis = [(
        "CHANCERY_TRUST__GENESIS",
        "0000000000000000000000000000000000000000000000000000000000000000",
    )];
    does_not_start(&case.installation, &genesis, "do not verify");
    let id = case.installation.propose(RING);
    for environment in [other, genesis] {
        for words in [
            vec!["ceremony", "execute", &id],
            vec!["ceremony", "show", &id],
        ] {
            let mut command = case.installation.command();
            command
                .args(["--output", "json"])
                .args(&words)
                .envs(environment);
            assert_eq!(run(&mut command, b"").code, Some(3), "{words:?}");
        }
    }
    case.is_sound(&case.service);
}
