//! A leaf that is put back: its row, and what it did.

use trust::acts::UNPUBLISH;
use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::{Kid, Sha256Digest, Time};

use store::{KeyEffect, LostLeaf};

/// A leaf as its row, and what has to be put back by hand.
pub(super) fn read(index: u64, body: &[u8]) -> Result<(LostLeaf, Option<String>), String> {
    let text = std::str::from_utf8(body).map_err(|_| "it is not text".to_owned())?;
    let row = |kind: &'static str, time: Time| store::Leaf {
        time: time.millis(),
        kind,
        ring: None,
        kid: None,
        sig_hash: None,
        body: text.to_owned(),
    };
    match Leaf::parse(body).map_err(|error| error.to_string())? {
        Leaf::Signature(leaf) => {
            let leaf = store::Leaf {
                ring: Some(leaf.ring.to_string()),
                kid: Some(leaf.kid.as_str().to_owned()),
                sig_hash: Some(hash(leaf.sig_hash)),
                ..row("sign", leaf.time)
            };
            Ok((lost(leaf, None), None))
        }
        Leaf::Act(act) => {
            let leaf = store::Leaf {
                ring: act.ring.clone(),
                kid: act.kid.as_ref().map(|kid| kid.as_str().to_owned()),
                ..row(act.kind.name(), act.time)
            };
            let effect = effect(&act);
            let by_hand = (effect.is_none() && has_rows(&act)).then(|| {
                let of = act.reference.as_deref().unwrap_or_default();
                if let (true, Some(first), Some(last), Some(bound)) =
                    (act.action == "clock-correction", act.first, act.last, act.bound)
                {
                    return format!(
                        "leaf {index}: verdicts follow the correction when it is held again: `chancery ceremony new clock-correction --first {first} --last {last} --bound {bound}`"
                    );
                }
                format!("leaf {index}: {} {} {of}", act.kind, act.action)
            });
            Ok((lost(leaf, effect), by_hand))
        }
        Leaf::Unknown(_) => Err("a later version wrote it; run that one".to_owned()),
    }
}

fn lost(leaf: store::Leaf, effect: Option<KeyEffect>) -> LostLeaf {
    LostLeaf {
        clock: leaf.time,
        leaf,
        effect,
    }
}

/// Whether it says that what stood in these places is lost.
pub(super) fn says_lost(body: &[u8], (first, last): (u64, u64)) -> bool {
    match Leaf::parse(body) {
        Ok(Leaf::Act(act)) => {
            act.kind == ActKind::Admin
                && act.action == "lost"
                && (act.first, act.last) == (Some(first), Some(last))
        }
        _ => false,
    }
}

/// The key that the custodians accepted for the log.
pub(super) fn accepted_log_key(body: &[u8]) -> Option<Kid> {
    match Leaf::parse(body) {
        Ok(Leaf::Act(act)) if act.kind == ActKind::Ceremony && act.action == "accepted" => act
            .kid
            .filter(|_| act.ring.as_deref() == Some(trust::LOG_RING)),
        _ => None,
    }
}

fn hash(hash: Sha256Digest) -> String {
    hash.to_string()
}

/// Acts that are more than their leaf.
fn has_rows(act: &ActLeaf) -> bool {
    !matches!(
        act.kind,
        ActKind::Refusal | ActKind::Refusals | ActKind::Admin
    )
}

fn effect(act: &ActLeaf) -> Option<KeyEffect> {
    if act.kind != ActKind::Key {
        return None;
    }
    let text = |kid: &Option<Kid>| kid.as_ref().map(|kid| kid.as_str().to_owned());
    let ring = act.ring.clone()?;
    match act.action.as_str() {
        "rotate" | "roll-back" => Some(KeyEffect::Switched {
            ring,
            new: text(&act.kid)?,
        }),
        "retire" => Some(KeyEffect::Retired {
            ring,
            kid: text(&act.kid)?,
        }),
        "archive" => Some(KeyEffect::Archived {
            ring,
            kid: text(&act.kid)?,
        }),
        UNPUBLISH => Some(KeyEffect::Unpublished {
            ring,
            kid: text(&act.kid)?,
        }),
        "revoke" => Some(KeyEffect::Revoked {
            ring,
            kid: text(&act.previous_kid)?,
            reason: act.reason.clone()?,
            since: act.compromised_since.map(Time::millis),
            successor: text(&act.kid),
        }),
        _ => None,
    }
}
