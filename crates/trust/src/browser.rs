//! What is exchanged with browsers, in the JSON of WebAuthn Level 3 sections 5.1 and 5.4 to 5.5: what
//! `PublicKeyCredential.parseRequestOptionsFromJSON()` takes and what `toJSON()` of a credential writes.

pub mod registration;

use serde::{Deserialize, Serialize};

use crate::base64url::{self, Base64Url};
use crate::digest::Sha256Digest;
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

/// PublicKeyCredentialCreationOptionsJSON: what a page passes to `navigator.credentials.create()`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreationOptions {
    /// The relying party.
    pub rp: RelyingParty,
    /// Whose the credential will be.
    pub user: CredentialUser,
    /// Base64url. It proves nothing: the new key proves itself over the roster.
    pub challenge: String,
    /// The algorithms of which a roster has keys, the best first.
    pub pub_key_cred_params: Vec<CredentialParameters>,
    /// The credentials that the member has: an authenticator with one of them makes no other.
    pub exclude_credentials: Vec<AllowedCredential>,
    /// Which authenticators.
    pub authenticator_selection: AuthenticatorSelection,
    /// Always `direct`: which model it is, as far as the authenticator says so.
    pub attestation: &'static str,
}

/// PublicKeyCredentialRpEntity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelyingParty {
    /// Its id: the host of the pages that ask, or one above it.
    pub id: String,
    /// What is shown: the service.
    pub name: String,
}

/// PublicKeyCredentialUserEntityJSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialUser {
    /// The same for all passkeys of a member, and nobody's name.
    pub id: Base64Url,
    /// The member's id.
    pub name: String,
    /// The member's name, where the roster has it.
    pub display_name: String,
}

/// PublicKeyCredentialParameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CredentialParameters {
    /// Always `public-key`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// COSEAlgorithmIdentifier.
    pub alg: i16,
}

/// AuthenticatorSelectionCriteria.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticatorSelection {
    /// Always `preferred`.
    pub resident_key: &'static str,
    /// Always `required`: without it no signature counts.
    pub user_verification: &'static str,
}

/// COSE algorithms of keys that a roster may have: Ed25519, ES256, RS256.
const ALGORITHMS: [i16; 3] = [-8, -7, -257];

impl CreationOptions {
    /// For a member of this roster, or of the next one.
    pub fn new(roster: &Roster, member: &MemberId, rp_id: &str, challenge: &[u8; 32]) -> Self {
        let (service, environment) = (&roster.service, &roster.environment);
        let listed = roster.member(member);
        let own = listed.into_iter().flat_map(|member| &member.keys);
        let own = own.filter_map(MemberKey::credential_id);
        let id = format!("{service}/{environment}/{member}");
        Self {
            rp: RelyingParty {
                id: rp_id.to_owned(),
                name: format!("{service}/{environment}"),
            },
            user: CredentialUser {
                id: Base64Url(Sha256Digest::of(id.as_bytes()).as_bytes().to_vec()),
                name: member.to_string(),
                display_name: listed
                    .map_or_else(|| member.to_string(), |member| member.name.clone()),
            },
            challenge: base64url::encode(challenge),
            pub_key_cred_params: ALGORITHMS
                .map(|alg| CredentialParameters {
                    kind: "public-key",
                    alg,
                })
                .to_vec(),
            exclude_credentials: own
                .map(|id| AllowedCredential {
                    id: id.clone(),
                    kind: "public-key",
                })
                .collect(),
            authenticator_selection: AuthenticatorSelection {
                resident_key: "preferred",
                user_verification: "required",
            },
            attestation: "direct",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alg::Algorithm;
    use crate::format::V1;
    use crate::roster::{Member, Role};

    #[test]
    fn what_a_browser_is_asked_for_to_make_a_passkey() {
        let credential = Base64Url(vec![7; 16]);
        let key = MemberKey::Webauthn {
            algorithm: Algorithm::Es256,
            credential_id: credential.clone(),
            public_key: Base64Url(Vec::new()),
        };
        let ada = Member {
            id: "ada".parse().unwrap(),
            name: "Ada L.".to_owned(),
            roles: vec![Role::Custodian],
            keys: vec![key],
            active: true,
        };
        let roster = Roster {
            v: V1,
            service: "seal".parse().unwrap(),
            environment: "test".parse().unwrap(),
            version: 1,
            previous: None,
            members: vec![ada],
            expires_at: None,
            passkeys: None,
        };
        let of = |member: &str| {
            let member = member.parse().unwrap();
            let options = CreationOptions::new(&roster, &member, "seal.example", &[1; 32]);
            serde_json::to_value(options).unwrap()
        };
        let ada = of("ada");
        assert_eq!(ada["rp"]["id"], "seal.example");
        assert_eq!(ada["user"]["name"], "ada");
        assert_eq!(ada["user"]["displayName"], "Ada L.");
        assert_eq!(ada["challenge"], base64url::encode(&[1; 32]));
        let excluded = &ada["excludeCredentials"][0];
        assert_eq!(excluded["id"], base64url::encode(&credential.0));
        assert_eq!(excluded["type"], "public-key");
        let selection = &ada["authenticatorSelection"];
        assert_eq!(selection["userVerification"], "required");
        let algorithms = ada["pubKeyCredParams"].as_array().unwrap().iter();
        let algorithms: Vec<_> = algorithms.map(|each| each["alg"].clone()).collect();
        assert_eq!(algorithms, [-8, -7, -257]);
        // One who is not on the roster yet, and is somebody else to the authenticator.
        let new = of("berta");
        assert_eq!(new["excludeCredentials"], serde_json::json!([]));
        assert_ne!(new["user"]["id"], ada["user"]["id"]);
    }
}
