"""Dovecot: IMAP and LMTP over Maildirs, in the destination's network namespace."""

import contextlib
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.certificates import CertificateFiles
from tests.servers.namespaces import Endpoint, Namespace
from tests.servers.process import CommandError, NotReadyError, tail, wait_until
from tests.servers.tokens import write_settings

LMTP = Endpoint("127.0.0.1", 24)
IMAP_PORT = 143
IMAPS_PORT = 993
AUTH_PORT = 12345

# Owns the mail. No account needs to exist for it.
MAIL_ID = 20025


@dataclass(frozen=True)
class Mailbox:
    """A mailbox: how mail gets to it, and how it is read."""

    name: str
    address: str
    password: str
    maildir: Path

    @property
    def user(self) -> str:
        """The IMAP user."""
        return self.address

    @property
    def new(self) -> Path:
        """Where an arrived mail appears, by a rename that inotify sees (IN_MOVED_TO)."""
        return self.maildir / "new"

    @property
    def junk_address(self) -> str:
        """Mail to this address is filed in the folder Junk of the same mailbox."""
        return self.address.replace("@", "+Junk@")

    def files(self) -> list[Path]:
        """The mails in its inbox, seen or not."""
        return [path for part in ("new", "cur") for path in (self.maildir / part).iterdir()]


def mailbox(name: str, address: str, mail_root: Path) -> Mailbox:
    """The mailbox of an address below `mail_root`."""
    return Mailbox(name, address, f"secret of {name}", mail_root / address / "Maildir")


CONFIGURATION = """
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {log}
instance_name = {name}
protocols = imap lmtp
listen = {listen}
ssl = yes
ssl_cert = <{good.chain}
ssl_key = <{good.key}
local {expired_address} {{
  ssl_cert = <{expired.chain}
  ssl_key = <{expired.key}
}}
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2
auth_failure_delay = 0
auth_verbose = yes
mail_max_userip_connections = 1000
first_valid_uid = {uid}
mail_location = maildir:~/Maildir
mail_fsync = never
postmaster_address = postmaster@estate.example
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
hostname = imap.estate.example
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {directory}/etc/oauth2.conf
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = scheme=PLAIN username_format=%u {directory}/etc/users
}}
userdb {{
  # No passdb serves LMTP, to see whether there is such a user; Postfix knows the recipients.
  driver = static
  args = uid={uid} gid={uid} home={mail_root}/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  mailbox Junk {{
    special_use = \\Junk
    auto = subscribe
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  service_count = 0
  client_limit = 2000
}}
service imap {{
  process_limit = 2000
}}
service lmtp {{
  inet_listener lmtp {{
    address = {lmtp.host}
    port = {lmtp.port}
  }}
}}
service anvil {{
  # Without this listener there is no growing penalty for wrong passwords.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  # For relays that ask for a login.
  inet_listener {{
    address = {address}
    port = {auth}
  }}
}}
"""


@dataclass(frozen=True)
class Dovecot:
    """One Dovecot. It listens on two addresses; at the second its certificate has expired."""

    namespace: Namespace
    directory: Path
    expired_address: str
    good: CertificateFiles
    expired: CertificateFiles
    mailboxes: Sequence[Mailbox]

    @property
    def imap(self) -> Endpoint:
        """IMAP in the clear; STARTTLS is offered."""
        return Endpoint(self.namespace.address, IMAP_PORT)

    @property
    def imaps(self) -> Endpoint:
        """IMAP over TLS."""
        return Endpoint(self.namespace.address, IMAPS_PORT)

    @property
    def imaps6(self) -> Endpoint:
        """As `imaps`, over IPv6."""
        return Endpoint(self.namespace.address6, IMAPS_PORT)

    @property
    def imap_expired(self) -> Endpoint:
        """As `imap`; STARTTLS shows an expired certificate."""
        return Endpoint(self.expired_address, IMAP_PORT)

    @property
    def imaps_expired(self) -> Endpoint:
        """IMAP over TLS with an expired certificate."""
        return Endpoint(self.expired_address, IMAPS_PORT)

    @property
    def auth(self) -> Endpoint:
        """Where other servers ask it whether a login is right."""
        return Endpoint(self.namespace.address, AUTH_PORT)

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.directory / "log" / "dovecot.log"

    @property
    def mail_root(self) -> Path:
        """Where the mailboxes lie."""
        return mail_root(self.directory)

    def write(self) -> None:
        """Lay out its directories, configuration and empty mailboxes."""
        for part in ("etc", "run", "state", "log", "mail"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(
            CONFIGURATION.format(
                directory=self.directory,
                log=self.log,
                name=f"mailcanary-{self.namespace.name}",
                address=self.namespace.address,
                listen=", ".join([*self.namespace.addresses, self.expired_address]),
                expired_address=self.expired_address,
                good=self.good,
                expired=self.expired,
                uid=MAIL_ID,
                mail_root=self.mail_root,
                imap=IMAP_PORT,
                imaps=IMAPS_PORT,
                lmtp=LMTP,
                auth=AUTH_PORT,
            )
        )
        users = "".join(f"{box.user}:{box.password}\n" for box in self.mailboxes)
        (self.directory / "etc" / "users").write_text(users)
        write_settings(self.directory / "etc")
        self.empty_mailboxes()

    def start(self) -> None:
        """Start it. Raises CommandError with its log when it does not."""
        try:
            self.namespace.run(["dovecot", "-c", self._configuration])
            wait_until(self._is_running, "start of Dovecot")
        except (CommandError, NotReadyError) as error:
            raise CommandError(f"{error}\n--- {self.log}\n{tail(self.log)}") from error

    def stop(self) -> None:
        """Stop it, IMAP and LMTP, if it runs. Open connections end."""
        if (master := self.namespace.leader_in(self._pid_file)) is None:
            return
        os.kill(master, signal.SIGTERM)

        def ended() -> bool:
            left = self.namespace.session(master)
            # The master gives its log process more than a second, long after all others have ended;
            # but those with an open TLS connection outlive it by ten seconds and more.
            return len(left) <= 2 or master not in left

        wait_until(ended, "stop of Dovecot")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(master, signal.SIGKILL)
        wait_until(lambda: not self.namespace.session(master), "end of Dovecot's last processes")
        # A start takes the number in this file for a running Dovecot until init has reaped it.
        self._pid_file.unlink(missing_ok=True)

    def filter_imap(self) -> None:
        """Drop what arrives for IMAP, in silence; mail is delivered all the same."""
        for port in (IMAP_PORT, IMAPS_PORT):
            self.namespace.filter_inbound(port)

    def refuse_imap(self) -> None:
        """Refuse IMAP, as if it were down; mail is delivered all the same."""
        for port in (IMAP_PORT, IMAPS_PORT):
            self.namespace.refuse_inbound(port)

    def unfilter(self) -> None:
        """Take away the filters of its namespace, which the destination shares."""
        self.namespace.unfilter()

    def restart_empty(self) -> None:
        """Start afresh with empty mailboxes and no connection."""
        self.stop()
        self.empty_mailboxes()
        self.start()

    def empty_mailboxes(self) -> None:
        """Remove all mail, folders and indexes; each mailbox begins again. Not while it runs."""
        shutil.rmtree(self.mail_root)
        self.mail_root.mkdir()
        for box in self.mailboxes:
            # inotify can watch the directory before the first mail comes.
            for part in ("cur", "new", "tmp"):
                (box.maildir / part).mkdir(parents=True)
            for path in (box.maildir.parent, *box.maildir.parent.rglob("*")):
                os.chown(path, MAIL_ID, MAIL_ID)

    @property
    def _configuration(self) -> Path:
        return self.directory / "etc" / "dovecot.conf"

    @property
    def _pid_file(self) -> Path:
        return self.directory / "run" / "master.pid"

    def _is_running(self) -> bool:
        return self.namespace.leader_in(self._pid_file) is not None


def mail_root(directory: Path) -> Path:
    """Where a Dovecot in `directory` keeps mail."""
    return directory / "mail"
