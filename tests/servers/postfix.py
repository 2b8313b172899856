"""Postfix instances, each in a network namespace, without systemd and beside any other Postfix."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.servers.certificates import CertificateFiles
from tests.servers.namespaces import SMTP_PORT, Endpoint, Namespace
from tests.servers.process import CommandError, NotReadyError, run, tail, wait_until

SUBMISSIONS_PORT = 465
"""Where an instance with a certificate also offers implicit TLS (RFC 8314)."""

# Mails, and what is noted about their recipients.
QUEUES = ("active", "bounce", "defer", "deferred", "hold", "incoming", "maildrop", "trace")

# Stock services of master.cf(5): name, type, private, wakeup, process limit, command.
SERVICES = (
    ("pickup", "unix", "n", "60", "1", "pickup"),
    ("cleanup", "unix", "n", "-", "0", "cleanup"),
    ("qmgr", "unix", "n", "300", "1", "qmgr"),
    ("tlsmgr", "unix", "-", "1000?", "1", "tlsmgr"),
    ("rewrite", "unix", "-", "-", "-", "trivial-rewrite"),
    ("bounce", "unix", "-", "-", "0", "bounce"),
    ("defer", "unix", "-", "-", "0", "bounce"),
    ("trace", "unix", "-", "-", "0", "bounce"),
    ("verify", "unix", "-", "-", "1", "verify"),
    ("flush", "unix", "n", "1000?", "0", "flush"),
    ("proxymap", "unix", "-", "-", "-", "proxymap"),
    ("proxywrite", "unix", "-", "-", "1", "proxymap"),
    ("smtp", "unix", "-", "-", "-", "smtp"),
    ("relay", "unix", "-", "-", "-", "smtp"),
    ("showq", "unix", "n", "-", "-", "showq"),
    ("error", "unix", "-", "-", "-", "error"),
    ("retry", "unix", "-", "-", "-", "error"),
    ("discard", "unix", "-", "-", "-", "discard"),
    ("lmtp", "unix", "-", "-", "-", "lmtp"),
    ("anvil", "unix", "-", "-", "1", "anvil"),
    ("scache", "unix", "-", "-", "1", "scache"),
    ("postlog", "unix-dgram", "n", "-", "1", "postlogd"),
)

# The waits of a real installation are minutes and hours; these let a test see their ends.
QUICK = {
    "smtp_connect_timeout": "2s",
    "lmtp_connect_timeout": "2s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "2s",
    "queue_run_delay": "1s",
}


@dataclass(frozen=True)
class QueuedMail:
    """One mail in a queue, as `postqueue -j` shows it.

    `recipients` maps each address to why its delivery is delayed, or None before a first attempt.
    """

    queue_id: str
    queue: str
    arrived: datetime
    sender: str
    recipients: dict[str, str | None]

    @property
    def reasons(self) -> str:
        """All reasons of delay, one a line."""
        return "\n".join(reason for reason in self.recipients.values() if reason)


def parse_queue(text: str) -> list[QueuedMail]:
    """Read the output of `postqueue -j`: one JSON object a line."""
    mails = []
    for line in text.splitlines():
        entry = json.loads(line)
        mails.append(
            QueuedMail(
                queue_id=entry["queue_id"],
                queue=entry["queue_name"],
                arrived=datetime.fromtimestamp(entry["arrival_time"], UTC),
                sender=entry["sender"],
                recipients={
                    recipient["address"]: recipient.get("delay_reason")
                    for recipient in entry["recipients"]
                },
            )
        )
    return mails


@dataclass
class Postfix:
    """One instance. `settings` are its own words of main.cf, over the common ones."""

    name: str
    namespace: Namespace
    directory: Path
    settings: dict[str, str]
    certificate: CertificateFiles | None = None
    _changed: bool = field(init=False, default=False)

    @property
    def address(self) -> str:
        """The address that it listens on and sends from."""
        return self.namespace.address

    @property
    def address6(self) -> str:
        """The IPv6 address that it listens on too; empty where the kernel knows no IPv6."""
        return self.namespace.address6

    @property
    def port(self) -> int:
        """The port of SMTP."""
        return SMTP_PORT

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens for SMTP."""
        return Endpoint(self.address, SMTP_PORT)

    @property
    def submissions(self) -> Endpoint:
        """Where it listens for SMTP over implicit TLS, if it has a certificate."""
        return Endpoint(self.address, SUBMISSIONS_PORT)

    @property
    def hostname(self) -> str:
        """The name that its banner, its EHLO and its Received lines bear."""
        return f"{self.name}.estate.example"

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.directory / "log" / "mail.log"

    def write(self) -> None:
        """Lay out its directories and configuration."""
        for part in ("etc", "queue", "data", "log"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        shutil.chown(self.directory / "data", "postfix", "postfix")
        self._write_settings({})
        (self._etc / "master.cf").write_text("\n".join(self._services()) + "\n")

    def start(self) -> None:
        """Start it and wait until it listens. Raises CommandError with its log when it does not."""
        try:
            self.namespace.run(["postfix", "-c", self._etc, "start"])
            wait_until(self._is_running, f"start of {self.name}")
        except (CommandError, NotReadyError) as error:
            raise CommandError(f"{error}\n{self._explain()}") from error

    def stop(self) -> None:
        """Stop it, if it runs. Open connections end."""
        if (master := self.namespace.leader_in(self._pid_file)) is not None:
            # What `postfix stop` does, but that looks only once a second whether it is done.
            os.kill(master, signal.SIGTERM)
            wait_until(lambda: not self.namespace.session(master), f"stop of {self.name}")

    def configure(self, **settings: str) -> None:
        """Put settings over those of main.cf while it runs, until `restore`.

        They replace those of an earlier call.
        """
        self._changed = True
        self._write_settings(settings)
        self._restart()

    def restore(self) -> None:
        """Undo what `configure` changed."""
        if self._changed:
            self._changed = False
            self._write_settings({})
            self._restart()

    def reset(self) -> None:
        """Be as after the first start: unfiltered, running, with its own settings and no mail.

        Mail is dropped while the instance is down: in a running one, a mail whose file is gone may
        still be under way to its next hop.
        """
        self.namespace.unfilter()
        if self._is_running() and not self._changed and not self.holds_mail():
            return
        self.stop()
        for path in self._mail_files():
            path.unlink()
        self._changed = False
        self._write_settings({})
        self.start()

    def filter_outbound(self, *, new_only: bool = False) -> None:
        """Drop what it sends to port 25, in silence, as a provider's filter does."""
        self.namespace.filter_outbound(new_only=new_only)

    def filter_inbound(self, *, new_only: bool = False) -> None:
        """Drop what is sent to its port 25, in silence."""
        self.namespace.filter_inbound(new_only=new_only)

    def unfilter(self) -> None:
        """Take away its filters."""
        self.namespace.unfilter()

    def queue(self) -> list[QueuedMail]:
        """The mails that it holds."""
        return parse_queue(self.namespace.run(["postqueue", "-c", self._etc, "-j"]))

    def flush_queue(self) -> None:
        """Have it try to deliver everything now."""
        self.namespace.run(["postqueue", "-c", self._etc, "-f"])

    def holds_mail(self) -> bool:
        """Whether any mail is in its queues, one that is just being received included."""
        return any(self._mail_files())

    @property
    def _etc(self) -> Path:
        return self.directory / "etc"

    def _mail_files(self) -> Iterator[Path]:
        for queue in QUEUES:
            yield from (
                path for path in (self.directory / "queue" / queue).rglob("*") if path.is_file()
            )

    @property
    def _pid_file(self) -> Path:
        return self.directory / "queue" / "pid" / "master.pid"

    def _is_running(self) -> bool:
        return self.namespace.leader_in(self._pid_file) is not None

    def _restart(self) -> None:
        """Begin anew: after a mere reload an idle smtpd may serve one more client as it was."""
        self.stop()
        self.start()

    def _write_settings(self, changes: dict[str, str]) -> None:
        settings = self._common() | self.settings | changes
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        # Every Postfix process may read the file at any time: replace it in one step.
        draft = self._etc / "main.cf.new"
        draft.write_text(text)
        # Postfix waits for a file that changed within the last seconds to cool down.
        long_ago = time.time() - 60
        os.utime(draft, (long_ago, long_ago))
        draft.replace(self._etc / "main.cf")

    def _common(self) -> dict[str, str]:
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": str(self.directory / "queue"),
            "data_directory": str(self.directory / "data"),
            "syslog_name": self.name,
            "maillog_file": str(self.log),
            "maillog_file_prefixes": str(self.directory),
            "myhostname": self.hostname,
            "mydestination": "",
            "alias_maps": "",
            "local_recipient_maps": "",
            "local_transport": "error:no mailbox lives here",
            "notify_classes": "",
            "inet_interfaces": ", ".join(self._addresses),
            "inet_protocols": "all" if self.address6 else "ipv4",
            "smtp_dns_support_level": "disabled",
            "smtp_host_lookup": "native",
            "smtpd_peername_lookup": "no",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_client_connection_rate_limit": "0",
            "in_flow_delay": "0",
        }
        if self.certificate is not None:
            settings |= {
                "smtpd_tls_security_level": "may",
                "smtpd_tls_chain_files": f"{self.certificate.key}, {self.certificate.chain}",
                "smtpd_tls_received_header": "yes",
            }
        return settings | QUICK

    @property
    def _addresses(self) -> list[str]:
        return [self.address, f"[{self.address6}]"] if self.address6 else [self.address]

    def _services(self) -> Iterator[str]:
        for address in self._addresses:
            yield f"{address}:{SMTP_PORT} inet n - n - - smtpd"
            if self.certificate is not None:
                yield f"{address}:{SUBMISSIONS_PORT} inet n - n - - smtpd"
                yield "  -o smtpd_tls_wrappermode=yes"
        for name, kind, private, wakeup, limit, command in SERVICES:
            yield f"{name} {kind} {private} - n {wakeup} {limit} {command}"

    def _explain(self) -> str:
        """Its log, and what its own check says: without a terminal fatal errors go unsaid."""
        check = run_on_terminal(self.namespace.command(["postfix", "-c", self._etc, "check"]))
        return f"--- postfix check\n{check}\n--- {self.log}\n{tail(self.log)}"


def run_on_terminal(command: list[str]) -> str:
    """What a command says on a terminal, whether or not it fails."""
    try:
        return run(["script", "-qefc", " ".join(command), "/dev/null"], timeout=20)
    except CommandError as error:
        return str(error)


def relay_settings(
    destination: Endpoint, trusted: Sequence[str], strict_map: Path | None
) -> dict[str, str]:
    """The settings of a relay: take mail from `trusted` networks, hand it to `destination`.

    With `strict_map`, a texthash table of known recipients, it refuses all others at RCPT; without
    it accepts whatever comes, and sends a DSN when the destination refuses.
    """
    settings = {
        "mynetworks": ", ".join(["127.0.0.0/8", *trusted]),
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "relayhost": f"[{destination.host}]:{destination.port}",
    }
    if strict_map is not None:
        domains = sorted({line.split()[0].split("@")[1] for line in _lines(strict_map)})
        settings |= {
            "relay_domains": ", ".join(domains),
            "relay_recipient_maps": f"texthash:{strict_map}",
        }
    return settings


def destination_settings(recipients: Path, aliases: Path, lmtp: Endpoint) -> dict[str, str]:
    """The settings of the destination: known recipients go to LMTP, others are refused at RCPT.

    `recipients` is a texthash table, `aliases` a regexp table.
    """
    domains = sorted({line.split()[0].split("@")[1] for line in _lines(recipients)})
    return {
        "mynetworks": "127.0.0.0/8",
        "smtpd_relay_restrictions": "reject_unauth_destination",
        "relayhost": "",
        "virtual_mailbox_domains": ", ".join(domains),
        "virtual_mailbox_maps": f"texthash:{recipients}",
        "virtual_alias_maps": f"regexp:{aliases}",
        "virtual_transport": f"lmtp:inet:{lmtp.host}:{lmtp.port}",
        # user+Junk is known where user is, and Dovecot files it in the folder Junk.
        "recipient_delimiter": "+",
    }


def _lines(table: Path) -> list[str]:
    return [line for line in table.read_text().splitlines() if line.strip()]
