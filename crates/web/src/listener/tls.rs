//! TLS by rustls, with optional client certificates. The chain is verified by the handshake; here
//! the names are read from the certificate that it verified.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig};
use rustls::{ServerConnection, SignatureScheme};
use trust::Time;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::listener::error::Error;
use crate::settings::Tls;

/// The files of `[http.tls]`, and what new connections use of them.
pub struct TlsFiles {
    settings: Tls,
    config: ArcSwap<ServerConfig>,
}

impl TlsFiles {
    pub fn open(settings: Tls) -> Result<(Self, Time), Error> {
        let (config, expires) = read_all(&settings)?;
        let config = ArcSwap::new(config);
        Ok((Self { settings, config }, expires))
    }

    /// For one handshake.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let Tls {
            certificate,
            key,
            client_ca,
        } = &self.settings;
        [certificate, key]
            .into_iter()
            .chain(client_ca)
            .map(PathBuf::as_path)
    }

    /// For connections from here on; when the certificate expires. After an error all is as before.
    pub fn reload(&self) -> Result<Time, Error> {
        let (config, expires) = read_all(&self.settings)?;
        self.config.store(config);
        Ok(expires)
    }
}

/// Whether the files of `[http.tls]` can be used; when the certificate expires.
pub fn check_tls(settings: &Tls) -> Result<Time, Error> {
    read_all(settings).map(|(_, expires)| expires)
}

/// For a client on this machine that has the same files: it accepts the very certificate that they
/// hold, whatever name it is for and whoever issued it.
pub fn own_certificate(settings: &Tls) -> Result<ClientConfig, Error> {
    let chain = certificates(&settings.certificate)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let own = OwnCertificate {
        expected: chain.into_iter().next(),
        algorithms: provider.signature_verification_algorithms,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(own))
        .with_no_client_auth();
    Ok(config)
}

#[derive(Debug)]
struct OwnCertificate {
    expected: Option<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for OwnCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.expected {
            Some(expected) if expected == end_entity => Ok(ServerCertVerified::assertion()),
            _ => Err(rustls::Error::General(
                "the listener shows another certificate than the one in its file".to_owned(),
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn read_all(settings: &Tls) -> Result<(Arc<ServerConfig>, Time), Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(Error::Tls)?;
            }
            // Not everybody needs a certificate: JWKS and verification are for strangers, and
            // programs may bring an access token.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|source| Error::ClientAuthorities {
                    path: path.clone(),
                    source,
                })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(&settings.certificate)?;
    let expires = chain.first().and_then(expires).ok_or(Error::Pem {
        path: settings.certificate.clone(),
        expected: "a certificate with a time of expiry",
    })?;
    let key = read(&settings.key)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| Error::Pem {
        path: settings.key.clone(),
        expected: "a private key",
    })?;
    let mut config = builder.with_single_cert(chain, key).map_err(Error::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), expires))
}

/// RFC 5280 section 4.1.2.5.
fn expires(certificate: &CertificateDer<'_>) -> Option<Time> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let until = certificate.tbs_certificate().validity().not_after;
    let millis = until.to_unix_duration().as_millis();
    i64::try_from(millis).ok().map(Time::from_millis)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = || Error::Pem {
        path: path.to_owned(),
        expected: "certificates",
    };
    let found = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| wrong())?;
    if found.is_empty() {
        return Err(wrong());
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

/// The names that the client's certificate, which the handshake verified, is for.
pub fn presented(connection: &ServerConnection) -> Result<Vec<String>, x509_cert::der::Error> {
    let presented = connection.peer_certificates();
    presented
        .and_then(<[_]>::first)
        .map_or_else(|| Ok(Vec::new()), names)
}

/// The names in the certificate's subjectAltName (RFC 5280 section 4.2.1.6). The kinds are told
/// apart by their form alone, so a name that has the form of another kind is left out: a DNS
/// entry `10.0.0.1` must not pass for an address.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, x509_cert::der::Error> {
    let certificate = Certificate::from_der(certificate)?;
    let extension = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>()?;
    let Some((_, SubjectAltName(names))) = extension else {
        return Ok(Vec::new());
    };
    Ok(names.iter().filter_map(name).collect())
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(dns) => {
            let dns = dns.as_str().to_ascii_lowercase();
            let plain = dns
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte));
            (plain && !dns.is_empty() && dns.parse::<IpAddr>().is_err()).then_some(dns)
        }
        GeneralName::UniformResourceIdentifier(uri) => {
            let uri = uri.as_str();
            (uri.contains("://") || uri.starts_with("urn:")).then(|| uri.to_owned())
        }
        GeneralName::Rfc822Name(mail) => {
            let mail = mail.as_str();
            (mail.contains('@') && !mail.contains(':')).then(|| mail.to_owned())
        }
        GeneralName::IpAddress(bytes) => match bytes.as_bytes() {
            &[a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            bytes => <[u8; 16]>::try_from(bytes)
                .ok()
                .map(|v6| IpAddr::from(v6).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn names_of(sans: Vec<SanType>) -> Vec<String> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = sans;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        names(certificate.der()).unwrap()
    }

    #[test]
    fn a_name_of_one_kind_cannot_pass_for_another() {
        let text = |text: &str| text.try_into().unwrap();
        assert_eq!(
            names_of(vec![
                SanType::DnsName(text("Signer.Example")),
                SanType::URI(text("spiffe://x/y")),
                SanType::Rfc822Name(text("a@b.example")),
                SanType::IpAddress("10.0.0.1".parse().unwrap()),
            ]),
            ["signer.example", "spiffe://x/y", "a@b.example", "10.0.0.1"]
        );
        assert_eq!(
            names_of(vec![
                SanType::DnsName(text("10.0.0.1")),
                SanType::DnsName(text("a@b.example")),
                SanType::DnsName(text("spiffe://x/y")),
                SanType::URI(text("signer.example")),
                SanType::Rfc822Name(text("signer.example")),
            ]),
            Vec::<String>::new()
        );
        assert!(names_of(Vec::new()).is_empty());
    }
}
