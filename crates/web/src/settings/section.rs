use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use base::settings::{Invalid, Profile};

/// `[http]`: the listeners and their limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    pub listen: SocketAddr,
    /// Metrics and health: on loopback, or on any address with `operations_tls` or
    /// `operations_token_file`.
    pub operations_listen: SocketAddr,
    /// The files for TLS of the operations listener, without `client_ca`.
    pub operations_tls: Option<Tls>,
    /// A file with the access token that requests to the operations listener carry, except for
    /// `/health/live`.
    pub operations_token_file: Option<PathBuf>,
    pub tls: Option<Tls>,
    pub body_limit_bytes: usize,
    /// From the first byte of the request to the last of the answer.
    pub request_timeout_ms: u64,
    /// Per caller, sustained.
    pub requests_per_second: u32,
    /// Requests of known callers under way before new ones are answered 503; callers without
    /// credentials have half as many places of their own.
    pub max_in_flight: usize,
    /// Connections of the API at once; 0 for 8 192, or fewer where the limit of open files (less
    /// 200 for everything else) is lower. Further ones are closed as soon as they are accepted.
    pub max_connections: usize,
    /// Of them from one address (IPv6: one /64); 0 for a quarter. Behind a proxy that opens many, as
    /// many as it opens.
    pub max_connections_per_address: usize,
    /// Most items in one batch.
    pub batch_limit: usize,
    /// From SIGTERM, when readiness turns 503, to the end of new connections.
    pub drain_delay_ms: u64,
}

/// `[http.tls]`: PEM files. With `client_ca`, clients may present certificates (mTLS).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            operations_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090),
            operations_tls: None,
            operations_token_file: None,
            tls: None,
            body_limit_bytes: 1 << 20,
            request_timeout_ms: 10_000,
            requests_per_second: 20_000,
            max_in_flight: 4_096,
            max_connections: 0,
            max_connections_per_address: 0,
            batch_limit: 1_000,
            drain_delay_ms: 5_000,
        }
    }
}

impl Http {
    pub fn validate(&self, profile: Profile) -> Result<(), Invalid> {
        let exposed = !self.listen.ip().is_loopback() && self.tls.is_none();
        if exposed && profile == Profile::Production {
            return Err(Invalid::new(
                "http.listen",
                "without [http.tls] it must be a loopback address: access tokens would be sent unencrypted",
            ));
        }
        let protected = self.operations_tls.is_some() || self.operations_token_file.is_some();
        if !self.operations_listen.ip().is_loopback() && !protected {
            return Err(Invalid::new(
                "http.operations_listen",
                "must be a loopback address unless http.operations_tls or http.operations_token_file is set",
            ));
        }
        if let Some(Tls {
            client_ca: Some(_), ..
        }) = self.operations_tls
        {
            return Err(Invalid::new(
                "http.operations_tls.client_ca",
                "is not supported; set http.operations_token_file to know callers",
            ));
        }
        for (setting, value) in [
            ("http.body_limit_bytes", self.body_limit_bytes),
            ("http.max_in_flight", self.max_in_flight),
            ("http.batch_limit", self.batch_limit),
            (
                "http.requests_per_second",
                self.requests_per_second as usize,
            ),
            (
                "http.request_timeout_ms",
                usize::try_from(self.request_timeout_ms).unwrap_or(0),
            ),
        ] {
            if value == 0 {
                return Err(Invalid::new(setting, "must not be zero"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_leave_loopback_only_with_tls_or_a_token() {
        let validated = |change: fn(&mut Http)| {
            let mut http = Http::default();
            change(&mut http);
            http.validate(Profile::Production).is_ok()
        };
        assert!(validated(|_| ()));
        assert!(!validated(|http| {
            http.operations_listen = ([0, 0, 0, 0], 9090).into();
        }));
        assert!(validated(|http| {
            http.operations_listen = ([0, 0, 0, 0], 9090).into();
            http.operations_token_file = Some("token".into());
        }));
        let tls = |client_ca| Tls {
            certificate: "a".into(),
            key: "b".into(),
            client_ca,
        };
        let mut http = Http {
            operations_listen: ([0, 0, 0, 0], 9090).into(),
            operations_tls: Some(tls(None)),
            ..Http::default()
        };
        assert!(http.validate(Profile::Production).is_ok());
        http.operations_tls = Some(tls(Some("c".into())));
        assert!(http.validate(Profile::Production).is_err());
    }
}
