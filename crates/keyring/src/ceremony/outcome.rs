//! What a token made, with what it proves of it, and whether it is the token that custodians approved.

use trust::approval::{Generated as GeneratedOutcome, NewKey, possession_message};
use trust::base64url::Base64Url;
use trust::{Generate, Place, Request, Sha256Digest};

use super::error::Error;
use token::{Executor, Generated, Handle};

/// A new key, with its own proof that it can sign.
pub(super) async fn generated_outcome(
    request: &[u8],
    order: &Generate,
    generated: &Generated,
    executor: &Executor,
) -> Result<GeneratedOutcome, Error> {
    let digest = Sha256Digest::of(request);
    let request = Request::decode(request)?;
    let kid = generated.public.kid();
    let message = possession_message(&request, digest, &kid)?;
    let (Place::Pkcs11(place), Some((algorithm, _))) = (&order.place, order.purpose.signing())
    else {
        return Err(Error::Unfit("no signing key on a PKCS#11 token".to_owned()));
    };
    let handle = Handle::new(place.cka_id.0, generated.spki.clone(), algorithm);
    let possession = executor.prove(&handle, algorithm, &message).await?;
    Ok(GeneratedOutcome {
        attestation: generated.attestation.clone().map(Base64Url),
        key: NewKey::Public {
            kid,
            possession: Base64Url(possession),
            public_key: Base64Url(generated.spki.clone()),
            spki_digest: generated.public.spki_digest(),
        },
        location: generated.location.clone(),
        read_back: generated.read_back.clone(),
    })
}

/// Asked immediately before the token is touched: custodians approved this device and no other.
pub(super) async fn require_token(
    executor: &Executor,
    serial: &str,
    label: &str,
) -> Result<(), Error> {
    let (found_serial, found_label) = executor.identity().await?;
    if (found_serial.as_str(), found_label.as_str()) == (serial, label) {
        return Ok(());
    }
    Err(Error::Unfit(format!(
        "the request is for token {label} ({serial}), the connected token is {found_label} ({found_serial})"
    )))
}
