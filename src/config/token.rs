use token::Settings;

use base::settings::Invalid;

/// A PIN in the URI would stand in the file, in process lists and in backups.
pub(super) fn validate(settings: &Settings, setting: &'static str) -> Result<(), Invalid> {
    match settings.uri.contains("pin-value") {
        true => Err(Invalid::new(
            setting,
            "must not contain a PIN: use pin-source=file:…",
        )),
        false => Ok(()),
    }
}
