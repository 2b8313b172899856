"""Network namespaces joined by a bridge, for one estate of servers.

Every name carries the number of a slot that the process holds by a file lock, so that two runs on
one machine never meet, and a run that was killed is cleaned up by the next one in its slot.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tests.servers.process import CommandError, run, wait_until

SLOTS = 32
RUN_DIRECTORY = Path("/run/mailcanary-servers")
ETC_DIRECTORY = Path("/etc/netns")
"""Files of a namespace's own, that `ip netns exec` puts over those in /etc (ip-netns(8))."""
FILTER_TABLE = "mailcanary_filter"
SMTP_PORT = 25
KERNEL_HAS_IPV6 = Path("/proc/sys/net/ipv6").is_dir()

Family = Literal["ipv4", "ipv6"]


class Endpoint(NamedTuple):
    """A TCP endpoint, as `socket.create_connection` takes it."""

    host: str
    port: int


@dataclass(frozen=True)
class Slot:
    """A number of its own for this process, and what is derived from it."""

    number: int

    @property
    def directory(self) -> Path:
        """Where the servers of this slot keep everything."""
        return RUN_DIRECTORY / f"slot-{self.number}"

    @property
    def prefix(self) -> str:
        """How the names of this slot's namespaces begin."""
        return f"mc{self.number}-"

    @property
    def device(self) -> str:
        """The network device by which the root namespace is on this slot's bridge."""
        return f"mc{self.number}"

    @property
    def device_path(self) -> Path:
        """Exists while `device` does."""
        return Path("/sys/class/net") / self.device

    @property
    def subnet(self) -> str:
        """The /24 of this slot, inside the range kept for tests of network devices (RFC 2544)."""
        return f"198.18.{100 + self.number}.0/24"

    def address(self, host: int) -> str:
        """The address of one host of the subnet, 1..254."""
        return self.subnet.replace(".0/24", f".{host}")

    @property
    def subnet6(self) -> str:
        """The /64 of this slot, inside the range kept for tests of network devices (RFC 5180)."""
        return f"2001:2:0:{100 + self.number}::/64"

    def address6(self, host: int) -> str:
        """The IPv6 address of one host of the subnet, in the canonical form of RFC 5952."""
        return str(IPv6Network(self.subnet6)[host])


@contextlib.contextmanager
def hold_slot() -> Iterator[Slot]:
    """A free slot, cleared of what a killed run may have left, and cleared again at the end.

    Raises CommandError when all slots are held by running processes.
    """
    RUN_DIRECTORY.mkdir(mode=0o755, exist_ok=True)
    for number in range(SLOTS):
        slot = Slot(number)
        with (RUN_DIRECTORY / f"slot-{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            clear(slot)
            try:
                yield slot
            finally:
                clear(slot)
            return
    raise CommandError(f"all {SLOTS} slots in {RUN_DIRECTORY} are held by running processes")


def clear(slot: Slot) -> None:
    """End every process in the slot's namespaces, and remove the namespaces and files."""
    names = [line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line.strip()]
    for name in names:
        if name.startswith(slot.prefix):
            namespace = Namespace(name, "")
            namespace.end_processes()
            run(["ip", "netns", "delete", name])
    for directory in ETC_DIRECTORY.glob(f"{slot.prefix}*"):
        shutil.rmtree(directory)
    # The root namespace's end of the cable goes with the other end, but some time later.
    if slot.device_path.exists():
        with contextlib.suppress(CommandError):
            run(["ip", "link", "delete", slot.device])
        wait_until(lambda: not slot.device_path.exists(), f"end of {slot.device}")
    shutil.rmtree(slot.directory, ignore_errors=True)


@dataclass(frozen=True)
class Namespace:
    """A network namespace, and the filters that can be put on it.

    It has one address of each kind; that of IPv6 is empty where the kernel knows no IPv6.
    """

    name: str
    address: str
    address6: str = ""

    @property
    def _etc(self) -> Path:
        return ETC_DIRECTORY / self.name

    @property
    def addresses(self) -> list[str]:
        """Of both kinds, as far as there are any."""
        return [address for address in (self.address, self.address6) if address]

    def command(self, command: Sequence[str | Path]) -> list[str]:
        """The command line that runs `command` inside."""
        return ["ip", "netns", "exec", self.name, *(str(word) for word in command)]

    def run(self, command: Sequence[str | Path], *, timeout: float = 60) -> str:
        """Run a command inside to its end. Raises CommandError when it fails."""
        return run(self.command(command), timeout=timeout)

    def popen(self, command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Start a process inside; options are those of `subprocess.Popen`.

        `ip netns exec` replaces itself by the command, so the process id is the command's own and
        signals reach it.
        """
        return subprocess.Popen(self.command(command), **options)

    def resolve(self, names: Mapping[str, Sequence[str]]) -> None:
        """Have programs that are started here resolve these names to addresses, until `reset`."""
        self._etc.mkdir(parents=True, exist_ok=True)
        lines = [f"{address} {name}\n" for name, found in names.items() for address in found]
        (self._etc / "hosts").write_text("".join(lines))

    def reset(self) -> None:
        """Be as new: no process, no filter, no names."""
        self.end_processes()
        self.unfilter()
        shutil.rmtree(self._etc, ignore_errors=True)

    def filter_outbound(
        self,
        port: int = SMTP_PORT,
        *,
        new_only: bool = False,
        family: Family | None = None,
        to: Sequence[str] = (),
    ) -> None:
        """Drop what leaves for TCP `port`, in silence, as a provider's filter does.

        With `new_only` connections that are already open live on; with `family` it is only what
        leaves by that version of IP, with `to` only what leaves for these IPv4 addresses.
        """
        self._drop("output", port, new_only=new_only, family=family, to=to)

    def reject_outbound(self, port: int = SMTP_PORT, *, by: Literal["icmp", "reset"]) -> None:
        """Answer what leaves for TCP `port` as a filter that says so: prohibited, or a reset."""
        answer = "icmpx type admin-prohibited" if by == "icmp" else "tcp reset"
        self._rule("output", port, f"reject with {answer}")

    def redirect_outbound(self, port: int = SMTP_PORT, *, to_port: int) -> None:
        """Have whoever listens on `to_port` in here answer what leaves for TCP `port`."""
        self._rule("output", port, f"redirect to :{to_port}", kind="nat")

    def filter_inbound(self, port: int = SMTP_PORT, *, new_only: bool = False) -> None:
        """Drop what arrives for TCP `port`, in silence."""
        self._drop("input", port, new_only=new_only)

    def refuse_inbound(self, port: int = SMTP_PORT) -> None:
        """Answer what arrives for TCP `port` with a reset: connection refused."""
        self._rule("input", port, "reject with tcp reset")

    def unfilter(self) -> None:
        """Take away all filters."""
        run(
            self.command(["nft", "-f", "-"]),
            text=f"table inet {FILTER_TABLE}\ndelete table inet {FILTER_TABLE}\n",
        )

    def _drop(
        self,
        hook: str,
        port: int,
        *,
        new_only: bool,
        family: Family | None = None,
        to: Sequence[str] = (),
    ) -> None:
        # Only the first packet of a connection has SYN without ACK.
        syn = "tcp flags & (syn | ack) == syn " if new_only else ""
        version = "" if family is None else f"meta nfproto {family} "
        where = f"ip daddr {{ {', '.join(to)} }} " if to else ""
        self._rule(hook, port, f"{where}{version}{syn}drop")

    def _rule(
        self, hook: str, port: int, action: str, *, kind: Literal["filter", "nat"] = "filter"
    ) -> None:
        priority = 0 if kind == "filter" else -100
        ruleset = (
            f"table inet {FILTER_TABLE} {{ chain {hook}_{kind} {{\n"
            f"type {kind} hook {hook} priority {priority}; policy accept;\n"
            f"tcp dport {port} {action}\n}}\n}}\n"
        )
        run(self.command(["nft", "-f", "-"]), text=ruleset)

    def pids(self) -> list[int]:
        """The processes that run inside; one that has ended is not listed, reaped or not."""
        return [int(pid) for pid in run(["ip", "netns", "pids", self.name]).split()]

    def session(self, leader: int) -> list[int]:
        """The processes inside whose session began with `leader`: a daemon and its children."""

        def belongs(pid: int) -> bool:
            try:
                return os.getsid(pid) == leader
            except ProcessLookupError:
                return False

        return [pid for pid in self.pids() if belongs(pid)]

    def leader_in(self, pid_file: Path) -> int | None:
        """The daemon that a pid file names, if it runs inside; the file may be a dead one's."""
        try:
            pid = int(pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid in self.pids() else None

    def end_processes(self) -> None:
        """Kill what still runs inside: this module made the namespace, so it is all its own."""

        def none_left() -> bool:
            for pid in (left := self.pids()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_until(none_left, f"end of the processes in {self.name}")


class Network:
    """A bridge in a namespace of its own, and the namespaces on it."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self._backbone = Namespace(f"{slot.prefix}backbone", "")

    @property
    def gateway(self) -> str:
        """The address that the root namespace has on the bridge."""
        return self.slot.address(1)

    def start(self) -> None:
        """Make the bridge and join the root namespace to it."""
        run(["ip", "netns", "add", self._backbone.name])
        run(["ip", "-n", self._backbone.name, "link", "add", "bridge", "type", "bridge"])
        run(["ip", "-n", self._backbone.name, "link", "set", "bridge", "up"])
        self._join(self.slot.device, "root", ["name", self.slot.device])
        run(["ip", "link", "set", self.slot.device, "up"])
        self.add_root_address(1)

    def add_root_address(self, host: int) -> str:
        """Give the root namespace one more address on the bridge; returns it."""
        address = self.slot.address(host)
        run(["ip", "address", "add", f"{address}/24", "dev", self.slot.device])
        return address

    def add(self, name: str, *hosts: int) -> Namespace:
        """A new namespace on the bridge, with an address for each of `hosts`; the first counts.

        It has an IPv6 address too, for the first of them.
        """
        full = f"{self.slot.prefix}{name}"
        run(["ip", "netns", "add", full])
        self._join("eth0", name, ["netns", full])
        lines = ["link set lo up", "link set eth0 up"]
        lines += [f"address add {self.slot.address(host)}/24 dev eth0" for host in hosts]
        address6 = self.slot.address6(hosts[0]) if KERNEL_HAS_IPV6 else ""
        if address6:
            # Not tentative for a second first: nobody else can have it.
            lines.append(f"address add {address6}/64 dev eth0 nodad")
        run(["ip", "-n", full, "-batch", "-"], text="\n".join(lines) + "\n")
        return Namespace(full, self.slot.address(hosts[0]), address6)

    def _join(self, device: str, port: str, where: list[str]) -> None:
        """A cable from `device`, placed by `where`, to a port of the bridge named after `port`."""
        backbone, port = self._backbone.name, f"p-{port}"[:15]
        peer = ["peer", "name", port, "netns", backbone]
        named = [] if where[0] == "name" else ["name", device]
        run(["ip", "link", "add", *named, *where, "type", "veth", *peer])
        run(["ip", "-n", backbone, "link", "set", port, "master", "bridge", "up"])
