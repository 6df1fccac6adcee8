//! The token taken apart: CMS `SignedData`, the one signer, the `TSTInfo` that it signed.

use std::time::Duration;

use cms::cert::CertificateChoices;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use der::asn1::{Any, Int, ObjectIdentifier, OctetString};
use der::{DateTime, Decode, DecodeValue, Encode, FixedTag, Header, Reader, Sequence, Tag};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::SubjectKeyIdentifier;

use super::certificate::Authorities;
use super::scheme::{Scheme, hash_of};
use super::{LONGEST_TOKEN, TimestampError};
use crate::alg::Hash;
use crate::time::Time;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// More certificates than a chain of four needs only make work.
const MOST_CERTIFICATES: usize = 8;

/// `TSTInfo`, RFC 3161 section 2.4.2.
#[derive(Clone, Debug, Sequence)]
pub struct TstInfo {
    version: u8,
    pub policy: ObjectIdentifier,
    imprint: MessageImprint,
    serial_number: Int,
    pub gen_time: GenTime,
    #[asn1(optional = "true")]
    accuracy: Option<Accuracy>,
    #[asn1(default = "Default::default")]
    ordering: bool,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    tsa: Option<Any>,
    #[asn1(
        context_specific = "1",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    extensions: Option<Extensions>,
}

#[derive(Clone, Debug, Sequence)]
struct MessageImprint {
    hash: AlgorithmIdentifierOwned,
    hashed: OctetString,
}

#[derive(Clone, Copy, Debug, Sequence)]
struct Accuracy {
    #[asn1(optional = "true")]
    seconds: Option<u32>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    millis: Option<u16>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    micros: Option<u16>,
}

/// `SigningCertificate` of RFC 2634 section 5.4; the first entry is the signer's.
#[derive(Clone, Debug, Sequence)]
struct SigningCertificate {
    certs: Vec<EssCertId>,
    #[asn1(optional = "true")]
    policies: Option<Any>,
}

#[derive(Clone, Debug, Sequence)]
struct EssCertId {
    hash: OctetString,
    #[asn1(optional = "true")]
    issuer_serial: Option<Any>,
}

/// `SigningCertificateV2` of RFC 5035 section 3.
#[derive(Clone, Debug, Sequence)]
struct SigningCertificateV2 {
    certs: Vec<EssCertIdV2>,
    #[asn1(optional = "true")]
    policies: Option<Any>,
}

#[derive(Clone, Debug, Sequence)]
struct EssCertIdV2 {
    /// SHA-256 if nothing is said.
    #[asn1(optional = "true")]
    algorithm: Option<AlgorithmIdentifierOwned>,
    hash: OctetString,
    #[asn1(optional = "true")]
    issuer_serial: Option<Any>,
}

/// A GeneralizedTime that may have a fraction, which the one of X.509 may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenTime {
    at: Time,
    end: Time,
}

impl GenTime {
    /// As it is written, rounded up to a millisecond.
    pub fn at(self) -> Time {
        self.at
    }

    /// The last millisecond that is written in this way: an authority that writes whole seconds
    /// says "37" from 37.000 to 37.999.
    pub fn end(self) -> Time {
        self.end
    }

    /// `YYYYMMDDhhmmss[.f…]Z`, without trailing zeros in the fraction (X.690 section 11.7).
    fn parse(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b"Z")?;
        let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
            None => (text, &[][..]),
            Some(point) => (&text[..point], &text[point + 1..]),
        };
        let has_point = whole.len() != text.len();
        let ends_well = fraction.last().is_some_and(|last| *last != b'0');
        if whole.len() != 14 || fraction.len() > 9 || (has_point && !ends_well) {
            return None;
        }
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0u32, |sum, digit| {
                digit.is_ascii_digit().then_some(())?;
                sum.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
            })
        };
        let two = |at: usize| u8::try_from(number(&whole[at..at + 2])?).ok();
        let date = DateTime::new(
            u16::try_from(number(&whole[..4])?).ok()?,
            two(4)?,
            two(6)?,
            two(8)?,
            two(10)?,
            two(12)?,
        )
        .ok()?;
        let mut nanos = number(fraction)?;
        for _ in fraction.len()..9 {
            nanos *= 10;
        }
        let duration = date.unix_duration() + Duration::from_nanos(nanos.into());
        let at = Time::from_millis(0) + rounded_up(duration);
        let unsaid = match fraction.len() {
            0 => 999,
            1 => 99,
            2 => 9,
            _ => 0,
        };
        Some(Self {
            at,
            end: at + Duration::from_millis(unsaid),
        })
    }
}

/// To whole milliseconds.
fn rounded_up(duration: Duration) -> Duration {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

impl FixedTag for GenTime {
    const TAG: Tag = Tag::GeneralizedTime;
}

impl<'a> DecodeValue<'a> for GenTime {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        let text = reader.read_vec(header.length())?;
        Self::parse(&text).ok_or_else(|| Self::TAG.value_error().into())
    }
}

impl der::EncodeValue for GenTime {
    // Tokens are only read; the derived structure around it asks for a writer all the same.
    fn value_len(&self) -> der::Result<der::Length> {
        Err(Self::TAG.value_error().into())
    }

    fn encode_value(&self, _: &mut impl der::Writer) -> der::Result<()> {
        Err(Self::TAG.value_error().into())
    }
}

impl TstInfo {
    /// The instant after which the signature cannot have come into being: with the accuracy on
    /// top, and not before the end of what the authority's digits say.
    pub fn not_later_than(&self) -> Time {
        let Some(accuracy) = self.accuracy else {
            return self.gen_time.end();
        };
        let seconds = Duration::from_secs(accuracy.seconds.unwrap_or(0).into());
        let millis = Duration::from_millis(accuracy.millis.unwrap_or(0).into());
        let micros = Duration::from_micros(accuracy.micros.unwrap_or(0).into());
        let latest = self.gen_time.at() + seconds + millis + rounded_up(micros);
        latest.max(self.gen_time.end())
    }

    pub fn serial(&self) -> String {
        crate::hex::encode(self.serial_number.as_bytes())
    }

    fn check(&self) -> Result<(), TimestampError> {
        if self.version != 1 {
            return Err(TimestampError::NotAToken("expected version 1"));
        }
        let extensions = self.extensions.as_deref().unwrap_or_default();
        if extensions.iter().any(|extension| extension.critical) {
            return Err(TimestampError::NotAToken("an unknown critical extension"));
        }
        Ok(())
    }
}

/// A token whose structure is right; nothing in it is verified yet.
pub struct Token {
    pub info: TstInfo,
    pub certificates: Vec<Certificate>,
    /// The bytes of `TSTInfo`.
    content: Vec<u8>,
    hashes: Vec<Hash>,
    signer: SignerInfo,
}

fn malformed(what: &'static str) -> impl FnOnce(der::Error) -> TimestampError {
    move |source| TimestampError::Malformed { what, source }
}

impl Token {
    pub fn from_der(bytes: &[u8]) -> Result<Self, TimestampError> {
        if bytes.len() > LONGEST_TOKEN {
            return Err(TimestampError::TooLong);
        }
        let outer = ContentInfo::from_der(bytes).map_err(malformed(
            "the timestamp token (expected a TimeStampToken, not a TimeStampResp)",
        ))?;
        if outer.content_type != SIGNED_DATA {
            return Err(TimestampError::NotAToken("expected SignedData"));
        }
        let signed: SignedData = outer
            .content
            .decode_as()
            .map_err(malformed("the SignedData"))?;
        if signed.encap_content_info.econtent_type != TST_INFO {
            return Err(TimestampError::NotAToken("expected a TSTInfo in it"));
        }
        if signed.version != CmsVersion::V3 {
            return Err(TimestampError::NotAToken(
                "expected version 3 of SignedData",
            ));
        }
        let hashes = signed.digest_algorithms.iter().map(hash_of);
        let hashes = hashes.collect::<Result<_, _>>()?;
        let content = signed.encap_content_info.econtent;
        let content = content
            .ok_or(TimestampError::NotAToken("it has no content"))?
            .decode_as::<OctetString>()
            .map_err(malformed("the content"))?
            .into_bytes()
            .into_vec();
        let info = TstInfo::from_der(&content).map_err(malformed("the TSTInfo"))?;
        info.check()?;
        let mut certificates = Vec::new();
        for choice in signed.certificates.iter().flat_map(|set| set.0.iter()) {
            match choice {
                CertificateChoices::Certificate(certificate) => {
                    certificates.push(certificate.clone());
                }
                CertificateChoices::Other(_) => {
                    return Err(TimestampError::NotAToken("an unknown form of certificate"));
                }
            }
        }
        if certificates.len() > MOST_CERTIFICATES {
            return Err(TimestampError::NotAToken("too many certificates"));
        }
        let [signer] = signed.signer_infos.0.as_slice() else {
            return Err(TimestampError::NotAToken("expected exactly one signer"));
        };
        Ok(Self {
            info,
            certificates,
            content,
            hashes,
            signer: signer.clone(),
        })
    }

    /// That the token is about these bytes.
    pub fn check_imprint(&self, signature: &[u8]) -> Result<(), TimestampError> {
        let hash = hash_of(&self.info.imprint.hash)?;
        if hash.digest(signature) == self.info.imprint.hashed.as_bytes() {
            Ok(())
        } else {
            Err(TimestampError::OtherImprint)
        }
    }

    /// Finds the signer's certificate, which is not trusted by that, and checks that its key
    /// signed this content and this certificate.
    pub fn check_signer<'a>(
        &'a self,
        authorities: &'a Authorities,
    ) -> Result<&'a Certificate, TimestampError> {
        let mut known = self.certificates.iter().chain(authorities.iter());
        let signer = known
            .find(|certificate| self.is_by(certificate))
            .ok_or(TimestampError::NoSigner)?;
        let expected = match self.signer.sid {
            SignerIdentifier::IssuerAndSerialNumber(_) => CmsVersion::V1,
            SignerIdentifier::SubjectKeyIdentifier(_) => CmsVersion::V3,
        };
        if self.signer.version != expected {
            return Err(TimestampError::NotAToken(
                "an unsupported version of SignerInfo",
            ));
        }

        let hash = hash_of(&self.signer.digest_alg)?;
        if !self.hashes.contains(&hash) {
            return Err(TimestampError::NotAToken(
                "the signer's digest algorithm is not listed",
            ));
        }
        let content_type: ObjectIdentifier =
            self.attribute(CONTENT_TYPE)?
                .ok_or(TimestampError::NotAToken(
                    "the signed attributes lack the content type",
                ))?;
        let digest: OctetString =
            self.attribute(MESSAGE_DIGEST)?
                .ok_or(TimestampError::NotAToken(
                    "the signed attributes lack the message digest",
                ))?;
        if content_type != TST_INFO || digest.as_bytes() != hash.digest(&self.content) {
            return Err(TimestampError::OtherContent);
        }
        self.check_names(signer)?;

        // RFC 5652 section 5.4: the attributes are signed as a SET, not with the tag they have here.
        let signed = self.signer.signed_attrs.as_ref().map(Encode::to_der);
        let signed = signed
            .transpose()
            .map_err(malformed("the signed attributes"))?
            .unwrap_or_default();
        let key = signer.tbs_certificate().subject_public_key_info();
        Scheme::of_signer(&self.signer.signature_algorithm, hash)?.check(
            key,
            &signed,
            self.signer.signature.as_bytes(),
            "the timestamp token",
        )?;
        Ok(signer)
    }

    fn is_by(&self, certificate: &Certificate) -> bool {
        let tbs = certificate.tbs_certificate();
        match &self.signer.sid {
            SignerIdentifier::IssuerAndSerialNumber(named) => {
                named.issuer == *tbs.issuer() && named.serial_number == *tbs.serial_number()
            }
            SignerIdentifier::SubjectKeyIdentifier(named) => tbs
                .get_extension::<SubjectKeyIdentifier>()
                .is_ok_and(|found| found.is_some_and(|(_, id)| id == *named)),
        }
    }

    /// RFC 3161 section 2.4.1: the certificate is among what is signed. Both forms are checked
    /// where both are present; the older one is by SHA-1, which identifies here and protects
    /// nothing: the certificate has to be vouched for besides.
    fn check_names(&self, signer: &Certificate) -> Result<(), TimestampError> {
        let bytes = signer
            .to_der()
            .map_err(malformed("the signer's certificate"))?;
        let mut named = false;
        if let Some(attribute) = self.attribute::<SigningCertificateV2>(SIGNING_CERTIFICATE_V2)? {
            let first = attribute.certs.first();
            let first = first.ok_or(TimestampError::OtherCertificate)?;
            let hash = match &first.algorithm {
                None => Hash::Sha256,
                Some(algorithm) => hash_of(algorithm)?,
            };
            if first.hash.as_bytes() != hash.digest(&bytes) {
                return Err(TimestampError::OtherCertificate);
            }
            named = true;
        }
        if let Some(attribute) = self.attribute::<SigningCertificate>(SIGNING_CERTIFICATE)? {
            let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
            let digest = aws_lc_rs::digest::digest(sha1, &bytes);
            let first = attribute.certs.first();
            if first.is_none_or(|first| first.hash.as_bytes() != digest.as_ref()) {
                return Err(TimestampError::OtherCertificate);
            }
            named = true;
        }
        match named {
            true => Ok(()),
            false => Err(TimestampError::NotAToken(
                "the signed attributes lack the signing certificate",
            )),
        }
    }

    /// The one value of a signed attribute. RFC 5652 section 5.3: at most one attribute of a type,
    /// and these have exactly one value.
    fn attribute<T: for<'a> Decode<'a, Error = der::Error> + FixedTag>(
        &self,
        kind: ObjectIdentifier,
    ) -> Result<Option<T>, TimestampError> {
        let all = self.signer.signed_attrs.as_ref();
        let mut of_kind = all
            .into_iter()
            .flat_map(|all| all.iter())
            .filter(|attribute| attribute.oid == kind);
        let Some(attribute) = of_kind.next() else {
            return Ok(None);
        };
        let ([value], None) = (attribute.values.as_slice(), of_kind.next()) else {
            return Err(TimestampError::NotAToken(
                "a signed attribute occurs more than once",
            ));
        };
        let bytes = value.to_der().map_err(malformed("a signed attribute"))?;
        T::from_der(&bytes)
            .map(Some)
            .map_err(malformed("a signed attribute"))
    }
}
