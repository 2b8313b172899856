"""An estate of real mail servers on one machine, with faults to order.

Relays, destination and sites each have a network namespace, joined by a bridge that the test's own
process is on too. `docs/testing.md` has the picture.
"""

import smtplib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Self

from tests.servers.certificates import Authority, CertificateFiles
from tests.servers.dovecot import LMTP, Dovecot, Mailbox, mail_root, mailbox
from tests.servers.namespaces import SMTP_PORT, Endpoint, Namespace, Network, Slot, hold_slot
from tests.servers.postfix import Postfix, destination_settings, relay_settings
from tests.servers.process import tail, wait_until
from tests.servers.proxy import TcpProxy

CUSTOMERS = ("acme", "globex", "initech")
MONITOR_DOMAIN = "monitor.example"

# Host numbers on the bridge; the root namespace is 1.
DESTINATION_HOST = 5
EXPIRED_HOST = 6
FIRST_RELAY_HOST = 11
FIRST_SITE_HOST = 101
FIRST_DETOUR_HOST = 151
MAX_RELAYS = 80
MAX_SITES = 40

Tls = Literal["none", "good", "expired"]


@dataclass(frozen=True)
class RelaySpec:
    """What a relay is to be: its certificate, if any, and whether it refuses unknown recipients.

    A relay that is not strict accepts them, and sends a DSN when the destination refuses.
    """

    name: str
    tls: Tls = "none"
    strict: bool = False


def default_relays(count: int = 5) -> tuple[RelaySpec, ...]:
    """Relays 1 to `count` (at least 5): 2 has a certificate, 3 an expired one, 5 is strict."""
    if not 5 <= count <= MAX_RELAYS:
        raise ValueError(f"{count} relays; between 5 and {MAX_RELAYS} are possible")
    tls: dict[int, Tls] = {2: "good", 3: "expired"}
    return tuple(
        RelaySpec(f"relay-{number}", tls.get(number, "none"), strict=number == 5)
        for number in range(1, count + 1)
    )


@dataclass
class ServerEstate:
    """The servers. A context manager: `start` on entering, `stop` on leaving.

    Between the two, `reset` takes all faults and all mail away. Everything blocks; from asyncio
    call what takes long (`reset`, starts and stops) by `asyncio.to_thread`.
    """

    specs: Sequence[RelaySpec] = field(default_factory=default_relays)
    customers: Sequence[str] = CUSTOMERS
    site_count: int = 2

    relays: tuple[Postfix, ...] = field(init=False, default=())
    sites: tuple[Namespace, ...] = field(init=False, default=())
    mailboxes: dict[str, Mailbox] = field(init=False, default_factory=dict)
    bounces: Mailbox = field(init=False)
    destination: Postfix = field(init=False)
    dovecot: Dovecot = field(init=False)
    ca_file: Path = field(init=False)
    _slot: Slot = field(init=False)
    _network: Network = field(init=False)
    _detours: dict[str, str] = field(init=False, default_factory=dict)
    _proxies: list[TcpProxy] = field(init=False, default_factory=list)
    _stack: ExitStack = field(init=False, default_factory=ExitStack)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def gateway(self) -> str:
        """The address of the test's own process; relays and sites reach it there."""
        return self._network.gateway

    @property
    def namespace_prefix(self) -> str:
        """How the names of this estate's namespaces begin."""
        return self._slot.prefix

    @property
    def directory(self) -> Path:
        """Where its servers keep everything."""
        return self._slot.directory

    @property
    def servers(self) -> tuple[Postfix, ...]:
        """All Postfix instances."""
        return (*self.relays, self.destination)

    def start(self) -> None:
        """Start everything. Raises CommandError, with a log's tail, and leaves nothing behind."""
        with ExitStack() as stack:
            self._slot = stack.enter_context(hold_slot())
            self._network = Network(self._slot)
            self._network.start()
            self._lay_out()
            stack.callback(self._close_proxies)
            stack.callback(self.dovecot.stop)
            self.dovecot.start()
            for server in self.servers:
                stack.callback(server.stop)
            _each(Postfix.start, self.servers)
            for server in self.servers:
                wait_until(partial(greets, server.endpoint), f"the banner of {server.name}")
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """Stop everything, and remove the namespaces and files."""
        self._stack.close()

    def reset(self) -> None:
        """Take away all faults and proxies, processes at the sites, and all mail."""
        self._close_proxies()
        for site in self.sites:
            site.reset()
        # The destination comes after the relays, for what they were just handing over to it.
        _each(Postfix.reset, self.relays)
        self.destination.reset()
        self.dovecot.restart_empty()

    def proxy(self, target: Endpoint) -> TcpProxy:
        """A proxy in front of a server, for the test's process and for the sites."""
        return self._proxy(target, Endpoint(self.gateway, 0))

    def detour(self, relay: Postfix) -> TcpProxy:
        """A proxy between a relay and the destination, on port 25 as a filter would see it."""
        if relay.name not in self._detours:
            host = FIRST_DETOUR_HOST + len(self._detours)
            self._detours[relay.name] = self._network.add_root_address(host)
        proxy = self._proxy(
            self.destination.endpoint, Endpoint(self._detours[relay.name], SMTP_PORT)
        )
        relay.configure(relayhost=f"[{proxy.endpoint.host}]:{proxy.endpoint.port}")
        return proxy

    def unknown_recipient(self, customer: str) -> str:
        """An address of a customer that the destination does not know."""
        return f"nobody@{customer}.example"

    def defer_recipient(self, mailbox: Mailbox) -> None:
        """Have the destination defer mail to one mailbox at RCPT, as if it were full.

        A relay with a short `delay_warning_time` then sends a DSN of a delay. Ends with the
        destination's `restore`.
        """
        access = f"inline:{{ {{ {mailbox.address} = 452 4.2.2 Mailbox full }} }}"
        self.destination.configure(smtpd_recipient_restrictions=f"check_recipient_access {access}")

    def require_login(self, relay: Postfix) -> None:
        """Have a relay take mail only after AUTH, with any mailbox's user and password.

        It needs Dovecot for that. Ends with the relay's `restore`.
        """
        relay.configure(
            smtpd_sasl_auth_enable="yes",
            smtpd_sasl_type="dovecot",
            smtpd_sasl_path="inet:{}:{}".format(*self.dovecot.auth),
            smtpd_relay_restrictions="permit_sasl_authenticated, reject",
        )

    def sender(self, site: str) -> str:
        """A sender address whose bounces come to the mailbox `bounces`."""
        return f"canary-{site}@{MONITOR_DOMAIN}"

    def log_tails(self, lines: int = 30) -> str:
        """The ends of all logs, under the servers' names."""
        logs = [(server.name, server.log) for server in self.servers]
        logs.append(("dovecot", self.dovecot.log))
        return "\n".join(f"--- {name}\n{tail(path, lines)}" for name, path in logs)

    def _proxy(self, target: Endpoint, listen: Endpoint) -> TcpProxy:
        proxy = TcpProxy(target, listen)
        self._proxies.append(proxy)
        return proxy

    def _close_proxies(self) -> None:
        while self._proxies:
            self._proxies.pop().close()

    def _lay_out(self) -> None:
        """Make the namespaces and write all configuration; starts nothing."""
        directory = self._slot.directory
        directory.mkdir(mode=0o755)
        authority = Authority(directory / "certificates")
        self.ca_file = authority.ca_file
        self._lay_out_destination(directory, authority)
        recipients = directory / "recipients"
        self.relays = tuple(
            self._lay_out_relay(directory, authority, spec, FIRST_RELAY_HOST + index, recipients)
            for index, spec in enumerate(self.specs)
        )
        self.sites = tuple(
            self._network.add(f"site-{number + 1}", FIRST_SITE_HOST + number)
            for number in range(self.site_count)
        )

    def _lay_out_destination(self, directory: Path, authority: Authority) -> None:
        namespace = self._network.add("home", DESTINATION_HOST, EXPIRED_HOST)
        expired_address = self._slot.address(EXPIRED_HOST)
        mail = mail_root(directory / "dovecot")
        self.mailboxes = {
            name: mailbox(name, f"canary@{name}.example", mail) for name in self.customers
        }
        self.bounces = mailbox("bounces", f"bounces@{MONITOR_DOMAIN}", mail)
        boxes = (*self.mailboxes.values(), self.bounces)
        self.dovecot = Dovecot(
            namespace=namespace,
            directory=directory / "dovecot",
            expired_address=expired_address,
            good=authority.issue("imap", "imap.estate.example", *namespace.addresses),
            expired=authority.issue(
                "imap-expired", "imap.estate.example", expired_address, expired=True
            ),
            mailboxes=boxes,
        )
        self.dovecot.write()
        recipients, aliases = directory / "recipients", directory / "aliases"
        recipients.write_text("".join(f"{box.address} ok\n" for box in boxes))
        domain = MONITOR_DOMAIN.replace(".", r"\.")
        aliases.write_text(f"/^canary-[^@]*@{domain}$/ {self.bounces.address}\n")
        self.destination = Postfix(
            name="home",
            namespace=namespace,
            directory=directory / "home",
            settings=destination_settings(recipients, aliases, LMTP),
        )
        self.destination.write()

    def _lay_out_relay(
        self, directory: Path, authority: Authority, spec: RelaySpec, host: int, recipients: Path
    ) -> Postfix:
        namespace = self._network.add(spec.name, host)
        certificate: CertificateFiles | None = None
        if spec.tls != "none":
            names = (f"{spec.name}.estate.example", namespace.address)
            certificate = authority.issue(spec.name, *names, expired=spec.tls == "expired")
        relay = Postfix(
            name=spec.name,
            namespace=namespace,
            directory=directory / spec.name,
            settings=relay_settings(
                self.destination.endpoint,
                # A network of IPv6 in Postfix's own form.
                [self._slot.subnet, "[{}]/{}".format(*self._slot.subnet6.split("/"))],
                recipients if spec.strict else None,
            ),
            certificate=certificate,
        )
        relay.write()
        return relay


def greets(endpoint: Endpoint) -> bool:
    """Whether an SMTP server answers with its banner."""
    try:
        with smtplib.SMTP(endpoint.host, endpoint.port, timeout=2):
            return True
    except (OSError, smtplib.SMTPException):
        return False


def _each(action: Callable[[Postfix], None], servers: Iterable[Postfix]) -> None:
    """Do one thing to many servers at a time; the first error is raised once all are done."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        for result in [pool.submit(action, server) for server in servers]:
            result.result()
