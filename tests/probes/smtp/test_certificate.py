"""Certificates judged without refusing them."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from probes.smtp.certificate import _roots, not_after_ns, problem
from tests.probes.smtp.conftest import Certificates, self_signed

NOW = datetime.now(UTC)


def ns(moment: datetime) -> int:
    return round(moment.timestamp()) * 10**9


def chain_of(certificate: trustme.LeafCert) -> tuple[bytes, ...]:
    return tuple(
        ssl.PEM_cert_to_DER_cert(pem.bytes().decode()) for pem in certificate.cert_chain_pems
    )


@pytest.mark.parametrize(
    ("names", "host", "faults"),
    [
        (["relay.test"], "relay.test", None),
        (["relay.test"], "RELAY.test", None),
        (["*.relay.test"], "a.relay.test", None),
        (["*.relay.test"], "a.b.relay.test", "is for *.relay.test, not for a.b.relay.test"),
        (["*.relay.test"], "relay.test", "is for *.relay.test, not for relay.test"),
        (["192.0.2.1"], "192.0.2.1", None),
        (["192.0.2.1"], "192.0.2.2", "is for 192.0.2.1, not for 192.0.2.2"),
        (["2001:db8::1"], "2001:db8:0::1", None),
        (["a.test", "b.test"], "b.test", None),
        (["a.test", "b.test"], "c.test", "is for a.test, b.test, not for c.test"),
    ],
)
def test_names(certificates: Certificates, names: list[str], host: str, faults: str | None) -> None:
    chain = chain_of(certificates.ca.issue_cert(*names))
    assert problem(chain, host, certificates.ca_file, ns(NOW)) == faults


def test_dates(certificates: Certificates) -> None:
    before, after = NOW - timedelta(days=1), NOW + timedelta(days=1)
    leaf = certificates.ca.issue_cert("relay.test", not_before=before, not_after=after)
    chain = chain_of(leaf)
    end = not_after_ns(chain[0])
    assert end == ns(after.replace(microsecond=0))

    def at(moment_ns: int) -> str | None:
        return problem(chain, "relay.test", certificates.ca_file, moment_ns)

    assert at(ns(NOW)) is None
    assert at(end) is None
    assert at(end + 10**9) == f"expired on {after:%Y-%m-%d}"
    assert at(end + 10**16) == f"expired on {after:%Y-%m-%d}"
    assert at(ns(before - timedelta(days=3))) == f"not valid before {before:%Y-%m-%d}"


def test_all_faults_are_told(certificates: Certificates) -> None:
    leaf = trustme.CA().issue_cert(
        "other.test", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=2)
    )
    told = problem(chain_of(leaf), "relay.test", certificates.ca_file, ns(NOW))
    assert told == (
        f"expired on {NOW - timedelta(days=2):%Y-%m-%d}; is for other.test, not for relay.test; "
        "not issued by a trusted authority"
    )


def test_a_missing_intermediate(certificates: Certificates) -> None:
    chain = chain_of(certificates.ca.create_child_ca().issue_cert("relay.test"))
    assert problem(chain, "relay.test", certificates.ca_file, ns(NOW)) is None
    told = problem(chain[:1], "relay.test", certificates.ca_file, ns(NOW))
    assert told == "not issued by a trusted authority"


def certify(
    name: str,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    *extensions: x509.ExtensionType,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate with no extensions but those given, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=30))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


@pytest.mark.parametrize(
    ("authority", "usage", "fault"),
    [
        (True, [ExtendedKeyUsageOID.SERVER_AUTH], None),
        (True, [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], None),
        (True, [], None),
        (True, [ExtendedKeyUsageOID.CLIENT_AUTH], "the certificate is not for servers"),
        (False, [ExtendedKeyUsageOID.SERVER_AUTH], "basicConstraints.cA must be asserted"),
    ],
)
def test_a_plain_private_authority(
    tmp_path: Path, authority: bool, usage: list[x509.ObjectIdentifier], fault: str | None
) -> None:
    """No key usage, no key identifiers: what OpenSSL takes, and many a company has."""
    root = certify("root", None, x509.BasicConstraints(ca=True, path_length=None))
    serving = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    middle = certify("middle", root, x509.BasicConstraints(ca=authority, path_length=None), serving)
    extensions = [x509.SubjectAlternativeName([x509.DNSName("relay.test")])]
    purposes = [x509.ExtendedKeyUsage(usage)] if usage else []
    leaf, _ = certify("relay", middle, *extensions, *purposes)
    file = tmp_path / "root.pem"
    file.write_bytes(root[0].public_bytes(Encoding.PEM))
    chain = (leaf.public_bytes(Encoding.DER), middle[0].public_bytes(Encoding.DER))
    told = problem(chain, "relay.test", str(file), ns(NOW))
    if fault is None:
        assert told is None
    else:
        assert told is not None
        assert fault in told


def test_a_self_signed_certificate_that_is_trusted_by_name(certificates: Certificates) -> None:
    pem = self_signed("relay.test", NOW)
    der = x509.load_pem_x509_certificate(pem)
    file = certificates.directory / "pinned.pem"
    file.write_bytes(pem)
    chain = (der.public_bytes(Encoding.DER),)
    assert problem(chain, "relay.test", str(file), ns(NOW)) is None
    assert problem(chain, "relay.test", certificates.ca_file, ns(NOW)) == "self-signed"


def test_what_cannot_be_judged(certificates: Certificates) -> None:
    chain = chain_of(certificates.ca.issue_cert("relay.test"))
    assert problem((), "relay.test", None, 0) == "the relay showed no certificate"
    told = problem((b"junk",), "relay.test", certificates.ca_file, ns(NOW))
    assert told is not None
    assert told.startswith("the certificate cannot be read")
    assert not_after_ns(b"junk") is None
    told = problem(chain, "relay.test", "/nowhere/ca.pem", ns(NOW))
    assert told == "no trusted roots to judge it by"
    anonymous = chain_of(certificates.ca.issue_cert(common_name="relay.test"))
    told = problem(anonymous, "relay.test", certificates.ca_file, ns(NOW))
    assert told == "names no host"


def test_the_systems_roots_can_be_read() -> None:
    if not ssl.create_default_context().get_ca_certs():
        pytest.skip("no bundle of roots on this machine")
    assert len(_roots(None)) > 50
