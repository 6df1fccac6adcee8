use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a secret is found. The value itself is read when it is needed and not kept here, and
/// printing the configuration never shows an inline one.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum Secret {
    File(FromFile),
    Env(FromEnv),
    #[serde(deserialize_with = "inline")]
    Inline(SecretString),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromFile {
    pub file: PathBuf,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromEnv {
    pub env: String,
}

fn inline<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    String::deserialize(from).map(SecretString::from)
}

impl Secret {
    /// Reads it; `variable` looks a variable of the environment up.
    pub fn read(&self, variable: impl Fn(&str) -> Option<String>) -> Result<SecretString, String> {
        match self {
            Self::Inline(value) => Ok(value.clone()),
            Self::Env(FromEnv { env }) => variable(env)
                .map(SecretString::from)
                .ok_or_else(|| format!("the variable {env} is not set")),
            Self::File(FromFile { file }) => std::fs::read_to_string(file)
                .map(|text| SecretString::from(text.trim_end_matches(['\r', '\n'])))
                .map_err(|e| format!("cannot read {}: {e}", file.display())),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(from) => write!(f, "file {}", from.file.display()),
            Self::Env(from) => write!(f, "env {}", from.env),
            Self::Inline(_) => f.write_str("[redacted]"),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(from) => from.serialize(out),
            Self::Env(from) => from.serialize(out),
            Self::Inline(_) => out.serialize_str("[redacted]"),
        }
    }
}
