//! Whether a configured authority vouches for the certificate of a signer.

use der::asn1::ObjectIdentifier;
use der::{Decode, Encode};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use super::TimestampError;
use super::scheme::Scheme;
use crate::time::Time;

const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
const ANY_USE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// Basic constraints, key usage, extended key usage, and certificate policies, which nothing here
/// constrains: critical extensions that are understood.
const UNDERSTOOD: [ObjectIdentifier; 4] = [
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.5.29.37"),
    ObjectIdentifier::new_unwrap("2.5.29.32"),
];

/// Certificates between a signer and its authority.
const MOST_INTERMEDIATES: u8 = 2;

/// Certificates that are trusted to tell the time: of signers, or of those that issue to them.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<Certificate>);

impl Authorities {
    /// From certificates in DER, one each.
    pub fn from_der<'a>(
        certificates: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, TimestampError> {
        let read = |der| {
            Certificate::from_der(der).map_err(|source| TimestampError::Malformed {
                what: "the certificate of an authority",
                source,
            })
        };
        Ok(Self(
            certificates
                .into_iter()
                .map(read)
                .collect::<Result<_, _>>()?,
        ))
    }

    /// Adds all certificates of a PEM file; one without any is an error.
    pub fn add_pem(&mut self, pem: &[u8]) -> Result<(), TimestampError> {
        let found = Certificate::load_pem_chain(pem).map_err(TimestampError::Pem)?;
        if found.is_empty() {
            return Err(TimestampError::Pem(der::ErrorKind::Failed.into()));
        }
        self.0.extend(found);
        Ok(())
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whom each certificate is for, and until when it is valid.
    pub fn expiries(&self) -> impl Iterator<Item = (String, Time)> {
        self.0.iter().map(|certificate| {
            let last = certificate.tbs_certificate().validity().not_after;
            let last = last.to_unix_duration().as_millis();
            let last = Time::from_millis(i64::try_from(last).unwrap_or(i64::MAX));
            (subject(certificate), last)
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Certificate> {
        self.0.iter()
    }

    /// The subject of the authority that vouches for `signer` at an instant: itself, or the end of
    /// a chain through certificates of the token.
    pub(super) fn vouch(
        &self,
        signer: &Certificate,
        pool: &[Certificate],
        at: Time,
    ) -> Result<String, TimestampError> {
        check_signer_use(signer)?;
        check_validity(signer, at)?;
        if self.0.contains(signer) {
            return Ok(subject(signer));
        }
        self.issuer_of(signer, pool, at, 0)
    }

    fn issuer_of(
        &self,
        issued: &Certificate,
        pool: &[Certificate],
        at: Time,
        below: u8,
    ) -> Result<String, TimestampError> {
        let mut why = TimestampError::Untrusted(subject(issued));
        for authority in self.0.iter().filter(|one| names(issued, one)) {
            match check_issued(issued, authority, at, below) {
                Ok(()) => return Ok(subject(authority)),
                Err(error) => why = error,
            }
        }
        if below == MOST_INTERMEDIATES {
            return Err(why);
        }
        for between in pool.iter().filter(|one| names(issued, one)) {
            let vouched = check_issued(issued, between, at, below)
                .and_then(|()| self.issuer_of(between, pool, at, below + 1));
            match vouched {
                Ok(authority) => return Ok(authority),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

fn names(issued: &Certificate, issuer: &Certificate) -> bool {
    issued.tbs_certificate().issuer() == issuer.tbs_certificate().subject()
}

/// That `issuer` may issue certificates with `below` intermediates under it, and issued this one.
fn check_issued(
    issued: &Certificate,
    issuer: &Certificate,
    at: Time,
    below: u8,
) -> Result<(), TimestampError> {
    check_issuer_use(issuer, below)?;
    check_validity(issuer, at)?;
    let tbs = issued.tbs_certificate();
    if issued.signature_algorithm() != tbs.signature() {
        return Err(unfit(issued, "its two signature algorithms differ"));
    }
    let message = tbs
        .to_der()
        .map_err(|_| unfit(issued, "it cannot be re-encoded"))?;
    let signature = issued.signature().as_bytes();
    let signature = signature.ok_or(TimestampError::BadSignature("a certificate"))?;
    Scheme::of_certificate(issued.signature_algorithm())?.check(
        issuer.tbs_certificate().subject_public_key_info(),
        &message,
        signature,
        "a certificate",
    )
}

/// RFC 3161 section 2.3: extended key usage is critical and for time stamping alone.
fn check_signer_use(signer: &Certificate) -> Result<(), TimestampError> {
    check_critical(signer)?;
    match extension::<ExtendedKeyUsage>(signer)? {
        Some((true, uses)) if uses.0 == [TIME_STAMPING] => {}
        _ => {
            return Err(unfit(
                signer,
                "its extended key usage is not timeStamping alone and critical",
            ));
        }
    }
    match extension::<KeyUsage>(signer)? {
        Some((_, uses)) if !uses.digital_signature() && !uses.non_repudiation() => {
            Err(unfit(signer, "its key usage does not allow signatures"))
        }
        _ => Ok(()),
    }
}

/// RFC 5280 sections 4.2.1.3, 4.2.1.9 and 4.2.1.12.
fn check_issuer_use(issuer: &Certificate, below: u8) -> Result<(), TimestampError> {
    check_critical(issuer)?;
    match extension::<BasicConstraints>(issuer)? {
        Some((_, constraints)) if constraints.ca => {
            let most = constraints.path_len_constraint;
            if most.is_some_and(|most| most < below) {
                return Err(unfit(issuer, "its path length constraint is exceeded"));
            }
        }
        _ => return Err(unfit(issuer, "it is not a CA certificate")),
    }
    if extension::<KeyUsage>(issuer)?.is_some_and(|(_, uses)| !uses.key_cert_sign()) {
        return Err(unfit(
            issuer,
            "its key usage does not allow signing certificates",
        ));
    }
    let uses = extension::<ExtendedKeyUsage>(issuer)?;
    let allows = |uses: &[ObjectIdentifier]| {
        uses.iter()
            .any(|one| *one == TIME_STAMPING || *one == ANY_USE)
    };
    if uses.is_some_and(|(_, uses)| !allows(&uses.0)) {
        return Err(unfit(
            issuer,
            "its extended key usage does not allow timeStamping",
        ));
    }
    Ok(())
}

fn check_critical(certificate: &Certificate) -> Result<(), TimestampError> {
    let extensions = certificate.tbs_certificate().extensions();
    let unknown = extensions
        .into_iter()
        .flatten()
        .any(|extension| extension.critical && !UNDERSTOOD.contains(&extension.extn_id));
    match unknown {
        true => Err(unfit(certificate, "it has an unknown critical extension")),
        false => Ok(()),
    }
}

/// Both ends count, in whole seconds (RFC 5280 section 4.1.2.5).
fn check_validity(certificate: &Certificate, at: Time) -> Result<(), TimestampError> {
    let validity = certificate.tbs_certificate().validity();
    let at = u64::try_from(at.millis()).unwrap_or(0) / 1_000;
    let first = validity.not_before.to_unix_duration().as_secs();
    let last = validity.not_after.to_unix_duration().as_secs();
    match (first..=last).contains(&at) {
        true => Ok(()),
        false => Err(unfit(
            certificate,
            "it was not valid at the time of the timestamp",
        )),
    }
}

/// The extension and whether it is critical; one that occurs twice is an error.
fn extension<T>(certificate: &Certificate) -> Result<Option<(bool, T)>, TimestampError>
where
    T: for<'a> Decode<'a, Error = der::Error> + der::oid::AssociatedOid,
{
    let tbs = certificate.tbs_certificate();
    tbs.get_extension()
        .map_err(|_| unfit(certificate, "an extension cannot be parsed"))
}

fn unfit(certificate: &Certificate, why: &'static str) -> TimestampError {
    TimestampError::Certificate {
        subject: subject(certificate),
        why,
    }
}

fn subject(certificate: &Certificate) -> String {
    certificate.tbs_certificate().subject().to_string()
}
