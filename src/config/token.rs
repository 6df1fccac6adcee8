use token::Settings;

use super::{Error, refuse};

/// A PIN in the URI would stand in the file, in process lists and in backups.
pub(super) fn validate(settings: &Settings, setting: &'static str) -> Result<(), Error> {
    match settings.uri.contains("pin-value") {
        true => Err(refuse(
            setting,
            "a PIN does not belong into the configuration: use pin-source=file:…",
        )),
        false => Ok(()),
    }
}
