"""Keys and certificates of a run, signed by themselves, and how their owners are told apart."""

import base64
import datetime
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key and its certificate, as PEM, and the key's bytes in hexadecimal."""

    key: bytes
    certificate: bytes
    key_hex: str

    def fingerprint(self) -> str:
        """Return the SHA-256 of the certificate, as OpenVPN writes it."""
        loaded = x509.load_pem_x509_certificate(self.certificate)
        return loaded.fingerprint(hashes.SHA256()).hex(":").upper()

    def pin(self) -> str:
        """Return the public key's pin (RFC 7469, section 2.4)."""
        public = x509.load_pem_x509_certificate(self.certificate).public_key()
        encoded = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(hashlib.sha256(encoded).digest()).decode()


def new_identity(name: str) -> Identity:
    """Make the identity of *name*."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Identity(
        pem,
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_numbers().private_value.to_bytes(32, "big").hex(),
    )
