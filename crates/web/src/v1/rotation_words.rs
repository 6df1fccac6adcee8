//! Names of key types and assets as requests spell them.

use calendar::name::{AssetName, Word};

use crate::problem::Problem;

pub fn key_type(text: &str) -> Result<Word, Problem> {
    let expected = |error: calendar::name::NotAWord| Problem::member("key_type", error.to_string());
    text.parse().map_err(expected)
}

pub fn asset(text: &str) -> Result<AssetName, Problem> {
    let expected = |error: calendar::name::NotAnAsset| Problem::member("asset", error.to_string());
    text.parse().map_err(expected)
}
