"""What is wrong with a certificate, told without refusing it.

Python's ``ssl`` tells why a certificate does not verify only by breaking off the handshake.
Opportunistic TLS must go on, so here the chain that the relay sent is judged beside it
(``cryptography``'s path validation, RFC 5280). Nothing is allowed on the ground of this verdict.
"""

import re
import ssl
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from probes.contract.units import NS_PER_S

_HOUR_NS = 3600 * NS_PER_S
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_NO_PATH = "candidates exhausted: all candidates exhausted with no interior errors"


@lru_cache(maxsize=256)
def not_after_ns(der: bytes) -> int | None:
    """When the certificate expires, nanoseconds since the epoch; ``None`` if it cannot be read."""
    try:
        end = _load(der).not_valid_after_utc
    except ValueError:
        return None
    return round(end.timestamp()) * NS_PER_S


def problem(chain: tuple[bytes, ...], host: str, ca_file: str | None, now_ns: int) -> str | None:
    """Why the chain (DER, the relay's own first) does not verify for ``host``; ``None`` if it does.

    Verdicts are kept: a relay shows the same chain for weeks. Only near a limit of its validity
    would an hour matter, so there the relay's own certificate is judged by the second.
    """
    if not chain:
        return "the relay showed no certificate"
    window = not_after_ns(chain[0])
    if window is not None and abs(now_ns - window) > _HOUR_NS:
        now_ns -= now_ns % _HOUR_NS
    return _judge(chain, host, ca_file, now_ns // NS_PER_S)


@lru_cache(maxsize=1024)
def _judge(chain: tuple[bytes, ...], host: str, ca_file: str | None, now_s: int) -> str | None:
    try:
        leaf, *others = (_load(der) for der in chain)
    except ValueError as error:
        return f"the certificate cannot be read: {error}"
    now = datetime.fromtimestamp(now_s, UTC)
    faults = [*_dated(leaf, now), *_named(leaf, host), *_trusted(leaf, others, ca_file, now)]
    return "; ".join(faults) or None


def _dated(leaf: x509.Certificate, now: datetime) -> Iterable[str]:
    if now > leaf.not_valid_after_utc:
        yield f"expired on {leaf.not_valid_after_utc:%Y-%m-%d}"
    if now < leaf.not_valid_before_utc:
        yield f"not valid before {leaf.not_valid_before_utc:%Y-%m-%d}"


def _names(leaf: x509.Certificate) -> list[x509.DNSName | x509.IPAddress]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return []
    return [name for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]


def _covers(name: x509.DNSName | x509.IPAddress, host: str) -> bool:
    """Whether a name of a certificate is that of ``host`` (RFC 6125: a wildcard is one label)."""
    if isinstance(name, x509.IPAddress):
        try:
            return name.value == ip_address(host)
        except ValueError:
            return False
    pattern, host = name.value.lower().rstrip("."), host.lower()
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return host == pattern


def _named(leaf: x509.Certificate, host: str) -> Iterable[str]:
    names = _names(leaf)
    if not names:
        yield "names no host"
    elif not any(_covers(name, host) for name in names):
        shown = ", ".join(str(name.value) for name in names[:3])
        yield f"is for {shown}, not for {host}"


def _trusted(
    leaf: x509.Certificate, others: list[x509.Certificate], ca_file: str | None, now: datetime
) -> Iterable[str]:
    """Whether a path leads to a trusted root, whatever the names and dates of the leaf."""
    roots = _roots(ca_file)
    if leaf in roots:
        return
    if leaf.subject == leaf.issuer and _signs(leaf, leaf):
        yield "self-signed"
        return
    if not roots:
        yield "no trusted roots to judge it by"
        return
    # The expiry of the leaf is told apart, so look at a moment at which it was valid.
    second = timedelta(seconds=1)
    moment = min(max(now, leaf.not_valid_before_utc + second), leaf.not_valid_after_utc - second)
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(roots))
        .time(moment.replace(tzinfo=None))
        .extension_policies(ca_policy=_authority_policy(), ee_policy=_server_policy())
        # A server verifier would insist on a name; what is judged here is the path alone.
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, others)
    except (verification.VerificationError, ValueError) as error:
        text = str(error).removeprefix("validation failed: ")
        if text.startswith(_NO_PATH):
            yield "not issued by a trusted authority"
        else:
            yield f"its chain does not verify: {text.partition(' (encountered')[0][:200]}"


# cryptography's own policies are those of public web authorities, which many a good private one
# does not meet. These ask for what OpenSSL asks for.


def _authority_policy() -> verification.ExtensionPolicy:
    def may_sign(
        _policy: verification.Policy, _cert: x509.Certificate, found: x509.KeyUsage | None
    ) -> None:
        if found is not None and not found.key_cert_sign:
            raise ValueError("an issuer may not sign certificates")

    agnostic = verification.Criticality.AGNOSTIC
    return (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, agnostic, None)
        .may_be_present(x509.KeyUsage, agnostic, may_sign)
    )


def _server_policy() -> verification.ExtensionPolicy:
    def may_serve(
        _policy: verification.Policy, _cert: x509.Certificate, found: x509.ExtendedKeyUsage | None
    ) -> None:
        serving = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
        if found is not None and not any(usage in serving for usage in found):
            raise ValueError("the certificate is not for servers")

    agnostic = verification.Criticality.AGNOSTIC
    return verification.ExtensionPolicy.permit_all().may_be_present(
        x509.ExtendedKeyUsage, agnostic, may_serve
    )


def _signs(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=16)
def _roots(ca_file: str | None) -> list[x509.Certificate]:
    """The trusted roots: those of ``ca_file``, or the system's where OpenSSL looks for them."""
    paths = ssl.get_default_verify_paths()
    bundle = ca_file or paths.cafile
    files = [Path(bundle)] if bundle else sorted(Path(paths.capath).iterdir())
    roots = []
    for file in files:
        try:
            text = file.read_bytes()
        except OSError:  # a directory may hold anything
            continue
        for pem in _PEM.findall(text):
            try:
                roots.append(_load(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))))
            except ValueError:
                continue
    return roots


def _load(der: bytes) -> x509.Certificate:
    with warnings.catch_warnings():
        # Real roots have odd serial numbers; no reader of ours can do anything about them.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return x509.load_der_x509_certificate(der)
