//! Each OIDC issuer, asked for its keys.

use access::oidc::Oidc;
use trust::error_chain;
use trust::text::spelled_out;

use super::check::{Check, bad, good, note};
use crate::cli::World;
use crate::config::Config;

/// What is shown of keys that cannot be used.
const SHOWN: usize = 3;

pub async fn issuers(config: &Config, world: &World) -> Vec<Check> {
    let what = "OIDC issuer";
    let oidc = Oidc::new(&config.access.oidc, &world.env);
    let mut checks = Vec::new();
    for issuer in oidc.issuers() {
        let name = &issuer.settings().name;
        let kept = base::settings::duration::spelled(issuer.settings().keep_keys);
        let read = issuer.fetch().await;
        // A part of it comes from the issuer.
        let unusable: Vec<_> = issuer
            .unusable()
            .iter()
            .map(|why| spelled_out(why))
            .collect();
        let shown = unusable.iter().take(SHOWN).cloned().collect::<Vec<_>>();
        checks.push(match read {
            Err(error) => bad(
                what,
                format!("{name}: {}", spelled_out(&error_chain(&error))),
                format!(
                    "see that it can be reached from here; running replicas use its keys for {kept} after they read them last, then its tokens are answered with issuer_unavailable"
                ),
            ),
            Ok(0) => bad(
                what,
                format!("{name}: no key that can be used; {}", shown.join("; ")),
                "compare access.oidc.issuer.algorithms with what the issuer signs with",
            ),
            Ok(count) if unusable.is_empty() => good(what, format!("{name}: {count} key(s)")),
            Ok(count) => note(
                what,
                format!("{name}: {count} key(s)"),
                format!("not used: {}", shown.join("; ")),
            ),
        });
    }
    checks
}
