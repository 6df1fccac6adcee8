//! Withdrawals of standing orders: one custodian is enough, as for a rejection.
//!
//! A withdrawal is a signed statement and no ceremony: a ceremony has a proposer who does not count, and no threshold is
//! under two. It takes effect by its leaf. What was not accepted under the order by then never is.

use serde::{Deserialize, Serialize};

use crate::bytes16::Nonce;
use crate::chain::Trusted;
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::leaf::{ActKind, ActLeaf};
use crate::member_signature::MemberSignature;
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::roster::MemberId;
use crate::tally::{Ballot, Electorate, WhyNot, count};
use crate::text;

/// Most characters of a withdrawal's reason.
pub const MAX_REASON: usize = 1_000;

/// The action of the leaf of a withdrawal.
pub const WITHDRAW: &str = "withdraw";

/// The action of the leaf of a use.
pub const USE: &str = "use";

/// What is signed to withdraw a standing order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalBody {
    /// The order.
    pub order: Nonce,
    /// Why, in words.
    pub reason: String,
    /// SHA-256 of the request that asked for the order.
    pub request_digest: Sha256Digest,
    /// Format version.
    pub v: V1,
}

/// Why a withdrawal does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WithdrawalError {
    /// Not canonical JSON of its form.
    #[error("the withdrawal cannot be parsed: {0}")]
    Unreadable(#[from] JsonError),
    /// Of another order.
    #[error("the withdrawal concerns order {0}")]
    OtherOrder(Nonce),
    /// Empty, too long, or with characters that do not print.
    #[error("the reason is not 1 to {MAX_REASON} printable characters")]
    Reason,
    /// Not signed by an active custodian.
    #[error("{0}")]
    Signature(WhyNot),
}

impl WithdrawalBody {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}

/// The file that a custodian signs to withdraw an order.
pub fn withdrawal_message(service: &Name, environment: &Name, body: &[u8]) -> Vec<u8> {
    let namespace = Namespace::new(Purpose::Withdraw, service, environment);
    dsse::pae(&namespace.to_string(), body)
}

/// Who withdraws the order: an active custodian. No suspension matters, as it does not for a rejection: two could
/// otherwise silence the one who objects.
pub fn verify_withdrawal(
    trusted: &Trusted,
    (order, request_digest): (Nonce, Sha256Digest),
    body: &[u8],
    signature: &MemberSignature,
) -> Result<MemberId, WithdrawalError> {
    let namespace = Namespace::new(Purpose::Withdraw, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), body);
    let ballot = Ballot {
        signature,
        late: false,
    };
    let custodians = Electorate::custodians(trusted.roster());
    let (counted, not_counted) = count(&custodians, &namespace, &message, [ballot]);
    let Some(counted) = counted.into_iter().next() else {
        let why = not_counted.into_iter().next().map(|each| each.why);
        return Err(WithdrawalError::Signature(
            why.unwrap_or(WhyNot::UnknownKey),
        ));
    };
    let read: WithdrawalBody = json::require_canonical(body)?;
    if (read.order, read.request_digest) != (order, request_digest) {
        return Err(WithdrawalError::OtherOrder(read.order));
    }
    match text::is_plain(&read.reason, MAX_REASON) {
        true => Ok(counted.member),
        false => Err(WithdrawalError::Reason),
    }
}

/// Whether a leaf tells of the withdrawal of an order.
pub fn is_withdrawal(act: &ActLeaf, order: Nonce) -> bool {
    is_about(act, WITHDRAW, order)
}

/// Whether a leaf tells of a use of an order.
pub fn is_use(act: &ActLeaf, order: Nonce, number: u32) -> bool {
    is_about(act, USE, order) && act.use_number == Some(u64::from(number))
}

fn is_about(act: &ActLeaf, action: &str, order: Nonce) -> bool {
    act.kind == ActKind::Order
        && act.action == action
        && act.reference.as_deref() == Some(order.to_string().as_str())
}
