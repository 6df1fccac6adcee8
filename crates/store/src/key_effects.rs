//! What leaves that are put back did to keys.

use crate::engine::{Connection, Value};
use crate::error::Error;
use crate::keys::{
    ARCHIVE, DEMOTE, PROMOTE, RETIRE, REVOKE, REVOKE_MORE_SEVERELY, UNPUBLISH, primary,
};
use crate::rings::TOUCH_RING;

/// What a leaf did to a key, at the time of the leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyEffect {
    Switched {
        ring: String,
        new: String,
    },
    Retired {
        ring: String,
        kid: String,
    },
    Archived {
        ring: String,
        kid: String,
    },
    Unpublished {
        ring: String,
        kid: String,
    },
    Revoked {
        ring: String,
        kid: String,
        reason: String,
        since: Option<i64>,
        successor: Option<String>,
    },
}

/// What a leaf tells, written without the ceremony or plan that it rested on; false where the key is not in the
/// database. A ring whose new primary is not there is left without one.
pub(crate) async fn take_effect<C: Connection>(
    tx: &mut C,
    effect: &KeyEffect,
    at: i64,
) -> Result<bool, Error> {
    let (ring, done) = match effect {
        KeyEffect::Switched { ring, new } => {
            if let Some(old) = primary(tx, ring).await? {
                let values = [Value::Text(&old), Value::Text(ring), Value::Int(at)];
                tx.execute(DEMOTE, &values).await?;
            }
            let values = [Value::Text(new), Value::Text(ring), Value::Int(at)];
            (ring, tx.execute(PROMOTE, &values).await?)
        }
        KeyEffect::Retired { ring, kid } => {
            let values = [Value::Text(kid), Value::Text(ring), Value::Int(at)];
            (ring, tx.execute(RETIRE, &values).await?)
        }
        KeyEffect::Archived { ring, kid } => {
            let values = [Value::Text(kid), Value::Text(ring), Value::Int(at)];
            (ring, tx.execute(ARCHIVE, &values).await?)
        }
        KeyEffect::Unpublished { ring, kid } => {
            let values = [Value::Text(kid), Value::Text(ring), Value::Int(at)];
            (ring, tx.execute(UNPUBLISH, &values).await?)
        }
        KeyEffect::Revoked {
            ring,
            kid,
            reason,
            since,
            successor,
        } => {
            let (key, name) = (Value::Text(kid), Value::Text(ring));
            let (reason, since) = (Value::Text(reason), Value::MaybeInt(*since));
            let first = [key, name, Value::Int(at), reason, since];
            let mut done = tx.execute(REVOKE, &first).await?;
            if done == 0 {
                let again = [key, name, reason, since];
                done = tx.execute(REVOKE_MORE_SEVERELY, &again).await?;
            }
            if let Some(successor) = successor {
                let values = [Value::Text(successor), Value::Text(ring), Value::Int(at)];
                done = done.min(tx.execute(PROMOTE, &values).await?);
            }
            (ring, done)
        }
    };
    // A ring that is not there has no version to raise.
    tx.execute(TOUCH_RING, &[Value::Text(ring)]).await?;
    Ok(done == 1)
}
