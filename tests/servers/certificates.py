"""A certificate authority for the servers of one estate: good certificates, and expired ones."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True)
class CertificateFiles:
    """A certificate chain and its key, as PEM files."""

    chain: Path
    key: Path


class Authority:
    """Issues certificates into a directory; `ca_file` is what clients trust."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._ca = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, name: str, *identities: str, expired: bool = False) -> CertificateFiles:
        """A certificate for host names and addresses; an expired one ran out yesterday."""
        now = datetime.now(UTC)
        leaf = self._ca.issue_cert(
            *identities,
            not_before=now - timedelta(days=30),
            not_after=now + timedelta(days=-1 if expired else 90),
        )
        files = CertificateFiles(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        for pem in leaf.cert_chain_pems:
            pem.write_to_path(str(files.chain), append=True)
        leaf.private_key_pem.write_to_path(str(files.key))
        files.key.chmod(0o600)
        return files
