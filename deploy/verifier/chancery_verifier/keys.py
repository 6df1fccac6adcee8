"""The public keys of the service and their signatures: docs/TRANSCRIPT.md section 8."""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from .refusal import Malformed
from .shape import b64u_of_bytes

_SPKI_PREFIX = {
    "P-256": bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"),
    "P-384": bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"),
    "Ed25519": bytes.fromhex("302a300506032b6570032100"),
}
_MATERIAL_LENGTH = {"P-256": 64, "P-384": 96, "Ed25519": 32}
# FIPS 186-5, SP 800-186: the order of each curve's base point.
_ORDER = {
    "P-256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "P-384": int("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF" "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16),
}
_CURVE = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}
_RSA_SPECS = {2048: "RSA-2048", 3072: "RSA-3072", 4096: "RSA-4096"}

# Which algorithm takes which key (section 7, KeySpec).
SPECS_OF_ALGORITHM = {
    "ES256": ("P-256",),
    "ES384": ("P-384",),
    "Ed25519": ("Ed25519",),
    "PS256": tuple(_RSA_SPECS.values()),
    "RS256": tuple(_RSA_SPECS.values()),
}

# RFC 8032 section 5.1
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


def is_sound_ed25519(public: bytes) -> bool:
    """32 bytes that are the one spelling of a key, and not of a point whose order divides 8, with which all can sign."""
    y = int.from_bytes(public, "little") & (2**255 - 1)
    if len(public) != 32 or y >= _P:
        return False
    # Of small order are the neutral element and its opposite (y = 1, -1), the points of order 4 (y = 0), and those whose
    # double has y = 0: by RFC 8032 section 5.1.4 that is x^2 = -y^2, and then the curve says d y^4 + 2 y^2 = 1.
    return y not in (0, 1, _P - 1) and (_D * pow(y, 4, _P) + 2 * y * y - 1) % _P != 0


@dataclass(frozen=True)
class PublicKey:
    """A key by its SubjectPublicKeyInfo. `material` is x || y, the 32 bytes of Ed25519, or empty for RSA."""

    spec: str
    spki: bytes
    material: bytes
    kid: str

    def verifies(self, algorithm: str, message: bytes, signature: bytes) -> bool:
        """Whether this is a signature by this key over the message."""
        return self._check(algorithm, message, signature, digested=False)

    def verifies_digest(self, algorithm: str, digest: bytes, signature: bytes) -> bool:
        """The same, where the digest of the message is given. Ed25519 has no such form: false."""
        return algorithm != "Ed25519" and self._check(algorithm, digest, signature, digested=True)

    def canonical_signature(self, signature: bytes) -> bytes:
        """docs/LOG.md, "Leaves": r || s with the lower s; everything else is its own canonical form."""
        order, size = _ORDER.get(self.spec), len(self.material) // 2
        if order is None or len(signature) != 2 * size:
            return signature
        s = int.from_bytes(signature[size:], "big")
        return signature[:size] + (order - s).to_bytes(size, "big") if order // 2 < s < order else signature

    def _check(self, algorithm: str, data: bytes, signature: bytes, digested: bool) -> bool:
        if self.spec not in SPECS_OF_ALGORITHM[algorithm]:
            return False
        try:
            if algorithm == "Ed25519":
                ed25519.Ed25519PublicKey.from_public_bytes(self.material).verify(signature, data)
            elif algorithm in ("ES256", "ES384"):
                self._check_ecdsa(data, signature, digested)
            else:
                self._check_rsa(algorithm, data, signature, digested)
        # ValueError: a point off its curve, a digest or an integer of a length that cannot be.
        except (InvalidSignature, ValueError, UnsupportedAlgorithm):
            return False
        return True

    def _check_ecdsa(self, data: bytes, signature: bytes, digested: bool) -> None:
        size = len(self.material) // 2
        if len(signature) != 2 * size:
            raise InvalidSignature
        der = utils.encode_dss_signature(
            int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        )
        self.verify_ecdsa_der(data, der, digested)

    def verify_ecdsa_der(self, data: bytes, signature: bytes, digested: bool = False) -> None:
        """ECDSA with the hash that goes with the curve, in DER. Raises InvalidSignature or ValueError."""
        sha = hashes.SHA256() if self.spec == "P-256" else hashes.SHA384()
        key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE[self.spec](), b"\x04" + self.material)
        key.verify(signature, data, ec.ECDSA(utils.Prehashed(sha) if digested else sha))

    def _check_rsa(self, algorithm: str, data: bytes, signature: bytes, digested: bool) -> None:
        key = serialization.load_der_public_key(self.spki)
        if len(signature) * 8 != key.key_size:
            raise InvalidSignature
        sha = hashes.SHA256()
        if algorithm == "PS256":
            scheme = padding.PSS(mgf=padding.MGF1(sha), salt_length=32)
        else:
            scheme = padding.PKCS1v15()
        key.verify(signature, data, scheme, utils.Prehashed(sha) if digested else sha)


def read_spki(der: bytes) -> PublicKey:
    """A SubjectPublicKeyInfo in the one form of section 8.1. That a point is on its curve is seen when it is used."""
    for spec, prefix in _SPKI_PREFIX.items():
        if der.startswith(prefix) and len(der) == len(prefix) + _MATERIAL_LENGTH[spec]:
            material = der[len(prefix) :]
            if spec == "Ed25519" and not is_sound_ed25519(material):
                raise Malformed("an Ed25519 key of small order, or not canonically encoded")
            return PublicKey(spec, der, material, _thumbprint(_jwk(spec, material)))
    return _read_rsa(der)


def _read_rsa(der: bytes) -> PublicKey:
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Malformed(f"not a SubjectPublicKeyInfo of a known kind: {error}") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise Malformed("not a SubjectPublicKeyInfo of a known kind in its one form")
    numbers = key.public_numbers()
    spec = _RSA_SPECS.get(numbers.n.bit_length())
    if spec is None or numbers.e != 65537 or numbers.n % 2 == 0:
        raise Malformed("an RSA key has an odd n of 2048, 3072 or 4096 bits, and e 65537")
    one_form = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if one_form != der:
        raise Malformed("the SubjectPublicKeyInfo of an RSA key is not in its one form")
    modulus = numbers.n.to_bytes(numbers.n.bit_length() // 8, "big")
    return PublicKey(spec, der, b"", _thumbprint('{"e":"AQAB","kty":"RSA","n":"%s"}' % b64u_of_bytes(modulus)))


def _jwk(spec: str, material: bytes) -> str:
    """The members of RFC 7638 section 3.2 in their order."""
    if spec == "Ed25519":
        return '{"crv":"Ed25519","kty":"OKP","x":"%s"}' % b64u_of_bytes(material)
    size = len(material) // 2
    x, y = b64u_of_bytes(material[:size]), b64u_of_bytes(material[size:])
    return '{"crv":"%s","kty":"EC","x":"%s","y":"%s"}' % (spec, x, y)


def _thumbprint(jwk: str) -> str:
    return b64u_of_bytes(hashlib.sha256(jwk.encode("ascii")).digest())
