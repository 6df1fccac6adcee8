//! What is exchanged with browsers, in the JSON of WebAuthn Level 3 sections 5.1 and 5.4 to 5.5: what
//! `PublicKeyCredential.parseRequestOptionsFromJSON()` takes and what `toJSON()` of a credential writes.

pub mod registration;

use serde::{Deserialize, Serialize};

use crate::base64url::{self, Base64Url};
use crate::member_signature::MemberSignature;
use crate::roster::{MemberId, MemberKey, Passkeys, Roster};
use crate::webauthn::challenge;

/// Most bytes of what a browser hands out.
pub const MAX_JSON: usize = 64 * 1024;

/// Not what a browser hands out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the JSON of a PublicKeyCredential: {0}")]
pub struct NotACredential(String);

/// PublicKeyCredentialRequestOptionsJSON: what a page passes to `navigator.credentials.get()`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestOptions {
    /// Base64url of SHA-256 of the bytes to be signed.
    pub challenge: String,
    /// The relying party.
    pub rp_id: String,
    /// The credentials that would count.
    pub allow_credentials: Vec<AllowedCredential>,
    /// Always `required`.
    pub user_verification: &'static str,
}

/// PublicKeyCredentialDescriptorJSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AllowedCredential {
    /// Its id.
    pub id: Base64Url,
    /// Always `public-key`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl RequestOptions {
    /// For an assertion over `message` by a passkey of these members, or of any active one. `None` where the roster has
    /// no passkeys.
    pub fn new(roster: &Roster, members: Option<&[MemberId]>, message: &[u8]) -> Option<Self> {
        let asked = |id: &MemberId| members.is_none_or(|members| members.contains(id));
        let members = roster.members.iter();
        let members = members.filter(|member| member.active && asked(&member.id));
        let keys = members.flat_map(|member| &member.keys);
        Some(Self::by(roster.passkeys.as_ref()?, keys, message))
    }

    /// For an assertion over `message` by one of these keys.
    pub fn by<'a>(
        passkeys: &Passkeys,
        keys: impl IntoIterator<Item = &'a MemberKey>,
        message: &[u8],
    ) -> Self {
        let credentials = keys.into_iter().filter_map(MemberKey::credential_id);
        let allowed = credentials.map(|id| AllowedCredential {
            id: id.clone(),
            kind: "public-key",
        });
        Self {
            challenge: base64url::encode(challenge(message).as_bytes()),
            rp_id: passkeys.rp_id.clone(),
            allow_credentials: allowed.collect(),
            user_verification: "required",
        }
    }
}

/// A credential as `toJSON()` writes it. Members that are not read are allowed: browsers add some.
#[derive(Deserialize)]
struct Credential<R> {
    #[serde(rename = "rawId")]
    raw_id: Base64Url,
    response: R,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssertionResponse {
    authenticator_data: Base64Url,
    #[serde(rename = "clientDataJSON")]
    client_data: Base64Url,
    signature: Base64Url,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttestationResponse {
    attestation_object: Base64Url,
    #[serde(rename = "clientDataJSON")]
    client_data: Base64Url,
}

fn credential<'a, R: Deserialize<'a>>(json: &'a [u8]) -> Result<Credential<R>, NotACredential> {
    if json.len() > MAX_JSON {
        return Err(NotACredential(format!("it has more than {MAX_JSON} bytes")));
    }
    let read: Credential<R> =
        serde_json::from_slice(json).map_err(|error| NotACredential(error.to_string()))?;
    match read.kind == "public-key" {
        true => Ok(read),
        false => Err(NotACredential(format!("type {:?}", read.kind))),
    }
}

/// The answer to [`RequestOptions`] (AuthenticationResponseJSON) as a member's signature; nothing is verified.
pub fn assertion(json: &[u8]) -> Result<MemberSignature, NotACredential> {
    let read: Credential<AssertionResponse> = credential(json)?;
    Ok(MemberSignature::Webauthn {
        authenticator_data: read.response.authenticator_data,
        client_data: read.response.client_data,
        credential_id: read.raw_id,
        signature: read.response.signature,
    })
}

/// A new credential (RegistrationResponseJSON): client data and attestation object; nothing is verified.
pub fn registration(json: &[u8]) -> Result<(Vec<u8>, Vec<u8>), NotACredential> {
    let read: Credential<AttestationResponse> = credential(json)?;
    Ok((
        read.response.client_data.0,
        read.response.attestation_object.0,
    ))
}
