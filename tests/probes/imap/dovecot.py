"""A Dovecot on loopback ports of its own, for the tests of the IMAP probe alone."""

import os
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from tempfile import TemporaryDirectory

from probes.contract.config.models import ImapTls
from probes.contract.secret import Secret
from probes.imap import ImapTarget
from tests.servers.certificates import Authority, CertificateFiles
from tests.servers.process import environment

PASSWORD = 'pa ss"\\x'
USERS = 50
MAIL_ID = 20026
"""The numeric user that owns the mail; no account needs to exist for it."""

CONFIGURATION = """
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
instance_name = mailcanary-imap-probe
listen = 127.0.0.1
protocols = imap lmtp
ssl = yes
ssl_cert = <{certificate.chain}
ssl_key = <{certificate.key}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
first_valid_uid = {uid}
mail_location = maildir:{directory}/mail/%n
mail_fsync = never
postmaster_address = postmaster@imap.example
mail_plugins = quota
plugin {{
  quota = count:User quota
  quota_rule = *:storage=1M
  quota_vsizes = yes
}}
protocol imap {{
  mail_plugins = quota imap_quota
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%n {directory}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={directory}/mail/%n
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
service anvil {{
  # Without this listener there is no growing penalty for wrong passwords.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


@dataclass(frozen=True)
class Dovecot:
    """A running server, as one of its users sees it."""

    directory: Path
    user: str
    imap: int
    imaps: int
    lmtp: int
    ca_file: Path

    def target(self, *, tls: bool = False, password: str = PASSWORD) -> ImapTarget:
        """How to reach it."""
        return ImapTarget(
            host="127.0.0.1",
            port=self.imaps if tls else self.imap,
            tls=ImapTls.IMPLICIT if tls else ImapTls.NONE,
            user=self.user,
            secret=Secret(password),
            ca_file=str(self.ca_file),
        )

    def deliver(self, *headers: str, count: int = 1) -> None:
        """Deliver mail with these header lines over LMTP; it is there when this returns."""
        text = "".join(f"{header}\r\n" for header in headers) + "\r\nbody\r\n"
        with smtplib.LMTP("127.0.0.1", self.lmtp) as client:
            for _ in range(count):
                client.sendmail("a@sender.example", f"{self.user}@imap.example", text.encode())

    def drop(self, name: str, message: Message) -> None:
        """Put a mail into the Maildir as another program would, behind Dovecot's back."""
        maildir = self.directory / "mail" / self.user
        path = maildir / "tmp" / name
        path.write_bytes(message.as_bytes())
        os.chown(path, MAIL_ID, MAIL_ID)
        path.rename(maildir / "new" / name)


@contextmanager
def running(directory: Path, certificate: CertificateFiles, ca_file: Path) -> Iterator[Dovecot]:
    """Dovecot for the length of the block, in an empty directory."""
    directory.chmod(0o755)
    mail = directory / "mail"
    mail.mkdir()
    os.chown(mail, MAIL_ID, MAIL_ID)
    imap, imaps, lmtp = _free_ports(3)
    dovecot = Dovecot(directory, "user0", imap, imaps, lmtp, ca_file)
    users = "".join(f"user{number}:{{PLAIN}}{PASSWORD}::::::\n" for number in range(USERS))
    (directory / "users").write_text(users)
    configuration = directory / "dovecot.conf"
    configuration.write_text(
        CONFIGURATION.format(
            directory=directory,
            certificate=certificate,
            uid=MAIL_ID,
            imap=dovecot.imap,
            imaps=dovecot.imaps,
            lmtp=dovecot.lmtp,
        )
    )
    process = subprocess.Popen(["dovecot", "-F", "-c", str(configuration)], env=environment())
    try:
        for port in (dovecot.imap, dovecot.imaps, dovecot.lmtp):
            _wait_for(port, directory / "log")
        yield dovecot
    finally:
        process.terminate()
        process.wait(timeout=20)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                text = log.read_text() if log.exists() else "no log"
                raise RuntimeError(f"Dovecot does not listen on {port}:\n{text}") from error
            time.sleep(0.02)


@contextmanager
def anywhere() -> Iterator[Dovecot]:
    """Dovecot in a directory and with certificates of its own."""
    # Not pytest's own directory, into which the user that owns the mail may not look.
    with TemporaryDirectory(prefix="mailcanary-dovecot-") as name:
        base = Path(name)
        base.chmod(0o755)
        authority = Authority(base / "ca")
        (base / "server").mkdir()
        certificate = authority.issue("imap", "127.0.0.1")
        with running(base / "server", certificate, authority.ca_file) as started:
            yield started
