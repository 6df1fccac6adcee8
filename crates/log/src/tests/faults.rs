//! A fault at every call that writes, and at pairs of them: the call failed, or it did what was
//! asked and failed to say so; the process went on, or died and another one took over.

use super::trouble::{Fault, Trouble};
use super::world::{World, run};

const FAULTS: [Fault; 2] = [Fault::Before, Fault::After];

/// Leaves before the trouble and during it: partial tiles grow, become full, and become two.
const EARLIER: usize = 300;
const LATER: usize = 450;

/// What became of it: whether every fault came up.
async fn suffer(faults: &[(usize, Fault)], dies: bool) -> bool {
    let world = World::new().await;
    world.sign(EARLIER).await;
    run(&mut world.integrator("one", &Trouble::at(&[])))
        .await
        .unwrap();
    let before = world.published().await.expect("published");
    world.sign(LATER).await;
    let trouble = Trouble::at(faults);
    let mut integrator = world.integrator("one", &trouble);
    let mut failures = 0;
    while let Err(error) = run(&mut integrator).await {
        assert!(!error.is_fatal(), "{faults:?}: {error}");
        failures += 1;
        assert!(failures <= faults.len(), "{faults:?}: {error}");
        if dies {
            integrator = world.integrator(&format!("heir {failures}"), &trouble);
        }
    }
    world.holds().await;
    let after = world.published().await.expect("published");
    assert!(after.size > before.size);
    let last = faults.iter().map(|(at, _)| *at).max().unwrap_or(0);
    trouble.calls() > last
}

#[tokio::test]
async fn a_fault_at_any_step_is_survived() {
    for dies in [false, true] {
        for fault in FAULTS {
            let mut at = 0;
            while suffer(&[(at, fault)], dies).await {
                at += 1;
            }
            assert!(at > 8, "tiles, bundles, lease, swap, checkpoint: {at}");
        }
    }
}

#[tokio::test]
async fn faults_in_pairs_are_survived() {
    let pairs = (0..14)
        .step_by(3)
        .flat_map(|first| [1, 2, 4, 7].map(|after| (first, first + after)));
    for (number, (first, second)) in pairs.enumerate() {
        let dies = number % 2 == 0;
        for one in FAULTS {
            let other = FAULTS[number / 2 % 2];
            suffer(&[(first, one), (second, other)], dies).await;
        }
    }
}
