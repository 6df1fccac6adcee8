//! What is particular about a kind of token, as data: `profiles/*.toml`, compiled in.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::time::Duration;

use cryptoki::error::RvError;
use serde::{Deserialize, Serialize};

use crate::ckr::{self, Rung, Treatment};
use crate::error::Error;
use crate::key::{KeySpec, Scheme};

/// Every profile there is. `generic` comes last and fits every token that no other one claims.
const FILES: &[(&str, &str)] = &[
    ("softhsm", include_str!("../profiles/softhsm.toml")),
    ("kryoptic", include_str!("../profiles/kryoptic.toml")),
    ("luna", include_str!("../profiles/luna.toml")),
    ("azure-mhsm", include_str!("../profiles/azure-mhsm.toml")),
    (
        "azure-tls-offload",
        include_str!("../profiles/azure-tls-offload.toml"),
    ),
    (
        "azure-cloud-hsm",
        include_str!("../profiles/azure-cloud-hsm.toml"),
    ),
    (
        "aws-cloudhsm",
        include_str!("../profiles/aws-cloudhsm.toml"),
    ),
    (
        "opencryptoki",
        include_str!("../profiles/opencryptoki.toml"),
    ),
    ("tpm2", include_str!("../profiles/tpm2.toml")),
    ("generic", include_str!("../profiles/generic.toml")),
];

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    /// `pkcs11`, or `rest` for a service that has no library to load.
    pub backend: Backend,
    #[serde(default)]
    pub detect: Vec<Detect>,
    pub workers: Workers,
    /// How long is too long here.
    pub times: Times,
    /// Whether read-only sessions exist. Where not, users of keys get read/write sessions too.
    pub read_only_sessions: bool,
    /// What a change of objects excludes within its process.
    pub mutation: Mutation,
    pub login: Login,
    pub ec_point: EcPoint,
    /// Schemes the token can sign with, and the kinds of key it can make.
    pub schemes: Vec<Scheme>,
    pub generates: Vec<KeySpec>,
    pub destroy: bool,
    /// How it wraps data keys, by the vendor's documents; a trial at the start has the last word.
    pub wrap: WrapForm,
    /// What this token answers for a wrapped data key that was changed, beside the codes that say so by their names. Some use
    /// a code for it that means a broken token elsewhere.
    #[serde(default)]
    pub wrap_integrity: Vec<String>,
    /// How the vendor attests keys; for people and for `doctor`.
    pub attestation: String,
    /// Environment variables that the vendor's library reads, handed through to the worker.
    #[serde(default)]
    pub env: Vec<String>,
    /// Codes that mean something else here than usual.
    #[serde(default)]
    pub codes: BTreeMap<String, Rung>,
    /// What this token answers when a key was deleted by somebody else; for people reading an alert.
    #[serde(default)]
    pub gone: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    Pkcs11,
    Rest,
}

/// Beginnings of the token's own words. Both given must fit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detect {
    pub manufacturer: String,
    #[serde(default)]
    pub model: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// 0 means one for each core.
    pub processes: usize,
    /// Session threads in each process; 0 means one for each core.
    pub sessions: usize,
    /// Requests in flight for each session: one being signed, the others ready in the socket.
    pub depth: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// A call that takes longer is hung; its process is killed.
    pub hard_ms: u64,
    /// A worker silent for this long has its requests given to another as well.
    pub stall_ms: u64,
    /// Between probes of an idle worker.
    pub probe_ms: u64,
    /// First and longest pause between attempts to reach a token that is away.
    pub pause_ms: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mutation {
    /// Nothing else runs in the process while an object is created or destroyed.
    Exclusive,
    /// One change at a time, signatures go on.
    Serial,
    /// The token sorts it out.
    Free,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// What the PIN file holds: `text`, `user:password`, `challenge`, `none`.
    pub pin: PinForm,
    /// Codes of C_Login that mean a race between starting processes here, not a wrong PIN: one more try, after
    /// finalising, a pause and initialising.
    #[serde(default)]
    pub race: Vec<String>,
    #[serde(default)]
    pub race_pause_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinForm {
    Text,
    UserPassword,
    Challenge,
    None,
}

/// How data keys are wrapped. A trial at the start shows whether the token really does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WrapForm {
    /// CKM_AES_KEY_WRAP of exactly 32 bytes (RFC 3394).
    AesKw,
    /// For services without AES keys. Not carried out.
    #[serde(rename = "rsa-oaep-256")]
    RsaOaep256,
    None,
}

impl fmt::Display for WrapForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AesKw => "aes-kw",
            Self::RsaOaep256 => "rsa-oaep-256",
            Self::None => "none",
        })
    }
}

/// How CKA_EC_POINT comes: as a DER OCTET STRING, as the bare point, or either (told apart by length and tag).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EcPoint {
    Der,
    Raw,
    Either,
}

/// A profile for people: what `doctor` and an alert's reader want to know of a kind of token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileNotes {
    pub name: String,
    /// Whether there is a PKCS#11 library to load.
    pub has_library: bool,
    pub schemes: Vec<Scheme>,
    pub generates: Vec<KeySpec>,
    pub destroys: bool,
    /// `aes-kw`, `rsa-oaep-256` (not carried out), `none`: by the vendor's documents; a trial has the last word.
    pub wrap: String,
    /// How the vendor attests keys.
    pub attestation: String,
    /// What the token answers when a key was deleted by somebody else.
    pub gone: Vec<String>,
}

/// All profiles that are compiled in.
pub fn profiles() -> Vec<ProfileNotes> {
    let read = |(_, text): &(&str, &str)| toml::from_str::<Profile>(text).ok();
    FILES
        .iter()
        .filter_map(read)
        .map(|profile| ProfileNotes {
            name: profile.name,
            has_library: profile.backend == Backend::Pkcs11,
            schemes: profile.schemes,
            generates: profile.generates,
            destroys: profile.destroy,
            wrap: profile.wrap.to_string(),
            attestation: profile.attestation,
            gone: profile.gone,
        })
        .collect()
}

/// What the supervisor needs to know of the profile in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub processes: usize,
    pub depth: usize,
    pub hard: Duration,
    pub stall: Duration,
    pub probe: Duration,
}

/// Workers beyond the cores give nothing on a token that computes on this machine.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

impl Profile {
    /// By name; unknown names and profiles without a PKCS#11 library are refused.
    pub fn named(name: &str) -> Result<Profile, Error> {
        let refuse = |reason: String| Error::Profile {
            name: name.to_owned(),
            reason,
        };
        let (_, text) = FILES
            .iter()
            .find(|(file, _)| *file == name)
            .ok_or_else(|| refuse("unknown profile".to_owned()))?;
        let profile: Profile = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        match profile.backend {
            Backend::Pkcs11 => Ok(profile),
            Backend::Rest => Err(refuse(
                "this service has no PKCS#11 library, only a REST interface, which is not supported".to_owned(),
            )),
        }
    }

    /// By what the token says of itself (which reaches through proxies such as p11-kit, unlike the library's words).
    pub fn detect(manufacturer: &str, model: &str) -> Result<Profile, Error> {
        let mut best: Option<(usize, Profile)> = None;
        for (name, text) in FILES {
            let profile: Profile = toml::from_str(text).map_err(|error| Error::Profile {
                name: (*name).to_owned(),
                reason: error.to_string(),
            })?;
            // The longest fitting description wins: "IBM" alone is opencryptoki, "IBM" with "SW   TPM" is not.
            let fit = profile
                .detect
                .iter()
                .filter(|detect| {
                    manufacturer.starts_with(&detect.manufacturer)
                        && model.starts_with(&detect.model)
                })
                .map(|detect| detect.manufacturer.len() + detect.model.len())
                .max();
            if let Some(fit) = fit
                && profile.backend == Backend::Pkcs11
                && best.as_ref().is_none_or(|(longest, _)| fit > *longest)
            {
                best = Some((fit, profile));
            }
        }
        if let Some((_, profile)) = best {
            return Ok(profile);
        }
        Profile::named("generic")
    }

    /// Every environment variable that some vendor's library reads.
    pub fn environment() -> Vec<String> {
        let read = |(_, text): &(&str, &str)| toml::from_str::<Profile>(text).ok();
        FILES
            .iter()
            .filter_map(read)
            .flat_map(|profile| profile.env)
            .collect()
    }

    /// The common treatment of a code, with the profile's word over it. A code that a profile moves climbs from there to the
    /// top of the ladder.
    pub fn treatment(&self, code: RvError) -> Treatment {
        let usual = ckr::treatment(code);
        match self.codes.get(&ckr::name(code)) {
            None => usual,
            Some(Rung::Stop) => Treatment {
                first: Rung::Stop,
                last: Rung::Stop,
                ..usual
            },
            Some(rung) => Treatment {
                first: *rung,
                last: Rung::Reinitialise,
                ..usual
            },
        }
    }

    /// Whether this code, on a token that is well, says that a blob was changed or is another key's.
    pub fn is_wrap_integrity(&self, code: RvError) -> bool {
        matches!(
            code,
            RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::WrappedKeyInvalid
                | RvError::WrappedKeyLenRange
        ) || self.wrap_integrity.contains(&ckr::name(code))
    }

    /// Session threads in each process.
    pub fn sessions(&self) -> usize {
        if self.workers.sessions == 0 {
            cores()
        } else {
            self.workers.sessions
        }
    }

    /// The part that the supervisor acts by; the worker sends it once the token is known.
    pub fn limits(&self) -> Limits {
        Limits {
            processes: if self.workers.processes == 0 {
                cores()
            } else {
                self.workers.processes
            },
            depth: self.workers.depth.max(1),
            hard: Duration::from_millis(self.times.hard_ms),
            stall: Duration::from_millis(self.times.stall_ms),
            probe: Duration::from_millis(self.times.probe_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_readable_and_carries_its_own_name() {
        for (name, text) in FILES {
            let profile: Profile =
                toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(&profile.name, name);
            assert!(profile.times.stall_ms < profile.times.hard_ms, "{name}");
            assert!(
                profile.times.pause_ms.0 <= profile.times.pause_ms.1,
                "{name}"
            );
        }
    }

    #[test]
    fn unknown_keys_and_unknown_names_are_refused() {
        let text = FILES[0]
            .1
            .replace("destroy = true", "destroy = true\ncolour = \"red\"");
        assert!(toml::from_str::<Profile>(&text).is_err());
        assert!(Profile::named("no-such-token").is_err());
        assert!(Profile::named("azure-mhsm").is_err(), "REST only");
    }

    #[test]
    fn tokens_are_recognised_by_their_own_words() {
        for (manufacturer, model, name) in [
            ("SoftHSM project", "SoftHSM v2", "softhsm"),
            ("Kryoptic Project", "v1", "kryoptic"),
            ("SafeNet", "LunaSA 7.8.0", "luna"),
            ("Somebody", "Something", "generic"),
        ] {
            assert_eq!(Profile::detect(manufacturer, model).unwrap().name, name);
        }
    }

    #[test]
    fn a_profile_moves_a_code() {
        let mut profile = Profile::named("generic").unwrap();
        profile
            .codes
            .insert("CKR_GENERAL_ERROR".to_owned(), Rung::Reinitialise);
        assert_eq!(
            profile.treatment(RvError::GeneralError).first,
            Rung::Reinitialise
        );
    }
}
