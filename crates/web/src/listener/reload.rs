//! TLS files are read again when they change and at SIGHUP. What cannot be used is said, and the old files stay in use.

use base::files::{LOOK, Stamp};
use base::names;
use base::signals::Hangup;
use metrics::gauge;

use crate::listener::tls::TlsFiles;

/// Runs without end. Without TLS a hang-up is answered by saying that there is nothing to read again.
pub async fn follow(api: Option<&TlsFiles>, operations: Option<&TlsFiles>, mut hangup: Hangup) {
    let all = || api.into_iter().chain(operations);
    let stamps = || {
        all()
            .map(|files| files.paths().map(Stamp::of).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let mut known = stamps();
    loop {
        let told = tokio::select! {
            () = hangup.recv() => true,
            () = tokio::time::sleep(LOOK), if !known.is_empty() => false,
        };
        let found = stamps();
        for ((files, found), known) in all().zip(&found).zip(&known) {
            if told || found != known {
                reload(files, api.is_some_and(|api| std::ptr::eq(api, files)));
            }
        }
        known = found;
        if told && known.is_empty() {
            tracing::info!("SIGHUP: there are no TLS files to read again");
        }
    }
}

fn reload(files: &TlsFiles, of_api: bool) {
    match files.reload() {
        Ok(expires) => {
            if of_api {
                expiry(expires);
            }
            tracing::info!(expires_at = %expires, "TLS files read again");
        }
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            "TLS files cannot be used; the old ones stay in use"
        ),
    }
}

pub fn expiry(expires: trust::Time) {
    let seconds = expires.millis().div_euclid(1_000);
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds of this era are exact in an f64"
    )]
    gauge!(names::TLS_CERTIFICATE_EXPIRES).set(seconds as f64);
}
