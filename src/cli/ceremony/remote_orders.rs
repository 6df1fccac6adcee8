//! A standing order withdrawn over HTTP, with nothing but the custodian's key and the pinned digest of the genesis.

use std::path::Path;

use serde_json::{Value, json};
use trust::bytes16::Nonce;
use trust::format::V1;
use trust::withdrawal::{WithdrawalBody, withdrawal_message};
use trust::{Operation, Purpose, Sha256Digest};

use super::super::{World, ssh};
use super::remote::said;
use super::remote_arguments::Remote;
use verify::output::{Failure, Output};

/// Signs what names the order and the request that asked for it, which is read and held against its digest before.
pub async fn withdraw(
    remote: &Remote,
    (order, reason): (&str, &str),
    key: &Path,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let order: Nonce = order.parse().map_err(|_| {
        Failure::usage("expected the id of a standing order: 32 hexadecimal digits")
    })?;
    let session = remote.open().await?;
    let path = format!("/v1/orders/{order}");
    let answer = session.read(world, key, &path).await?;
    let answer: Value = serde_json::from_slice(&answer).map_err(Failure::refused)?;
    let ceremony = answer["ceremony"].as_str().unwrap_or_default();
    let fetched = session.fetch(world, key, ceremony).await?;
    match &fetched.request.operation {
        Operation::Order(asked) if asked.id == order => {}
        _ => {
            return Err(Failure::refused(format!(
                "the service names another ceremony than that of the order {order}"
            )));
        }
    }
    let body = WithdrawalBody {
        order,
        reason: reason.to_owned(),
        request_digest: ceremony.parse::<Sha256Digest>().map_err(Failure::refused)?,
        v: V1,
    };
    let body = body.encode().map_err(Failure::refused)?;
    let (service, environment) = (session.trusted.service(), session.trusted.environment());
    let message = withdrawal_message(service, environment, &body);
    let signature = ssh::sign(key, &session.namespace(Purpose::Withdraw), &message)?;
    let body = json!({"purpose": "withdraw", "reason": reason, "signature": signature});
    let told = session.post(&format!("{path}/signatures"), &body).await?;
    output.result(&told, || {
        let (state, standing) = (said(&told["state"]), said(&told["standing"]));
        format!("order        {order}\nstate        {state}: {standing}")
    });
    Ok(())
}
