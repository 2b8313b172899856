"""What a traced program asked of the kernel, and what a systemd unit would have let it ask."""

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.unit import demand, program

_CALL = re.compile(r"^(?:\d+ +)?(?P<name>[a-z]\w*)\((?P<arguments>.*)")
_FAMILY = re.compile(r"AF_\w+")


@dataclass(frozen=True, slots=True)
class Trace:
    """The calls in the output of ``strace -f -o``."""

    calls: tuple[tuple[str, str], ...]
    """Each call's name, and its arguments as far as strace shows them."""

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Trace":
        """Read strace's output; signals, exits and second halves of calls are passed over."""
        found = (_CALL.match(line) for line in lines)
        return cls(tuple((call["name"], call["arguments"]) for call in found if call))

    @property
    def names(self) -> set[str]:
        """The names of all calls."""
        return {name for name, _ in self.calls}

    @property
    def families(self) -> set[str]:
        """The address families of all sockets."""
        sockets = [said for name, said in self.calls if name in ("socket", "socketpair")]
        return {family[0] for said in sockets if (family := _FAMILY.match(said))}

    def executable_writes(self) -> list[str]:
        """The calls that ``MemoryDenyWriteExecute=`` refuses (systemd.exec(5))."""
        return [
            f"{name}({said}"
            for name, said in self.calls
            if (name == "mmap" and "PROT_WRITE" in said and "PROT_EXEC" in said)
            or (name in ("mprotect", "pkey_mprotect") and "PROT_EXEC" in said)
            or (name == "shmat" and "SHM_EXEC" in said)
        ]

    def refused_by(
        self, unit: Mapping[str, Sequence[str]], sets: Mapping[str, set[str]]
    ) -> set[str]:
        """What a unit of those settings would not have let it do: calls and address families."""
        [families] = unit["RestrictAddressFamilies"]
        return {
            *(self.names - allowed(unit["SystemCallFilter"], sets)),
            *(self.families - set(families.split())),
            *self.executable_writes(),
        }


def read_sets(text: str) -> dict[str, set[str]]:
    """The sets that ``systemd-analyze syscall-filter`` lists: calls, and ``@`` names of sets."""
    sets: defaultdict[str, set[str]] = defaultdict(set)
    name = ""
    for line in text.splitlines():
        word = line.strip()
        if line.startswith("@"):
            name = word
        elif word and not word.startswith("#"):
            sets[name].add(word)
    return dict(sets)


def expand(words: Iterable[str], sets: Mapping[str, set[str]]) -> set[str]:
    """The calls that the words stand for, each a call or a set.

    Raises:
        KeyError: a set that is not known.
    """
    calls: set[str] = set()
    for word in words:
        calls |= expand(sets[word], sets) if word.startswith("@") else {word}
    return calls


def allowed(filters: Sequence[str], sets: Mapping[str, set[str]]) -> set[str]:
    """The calls that the values of ``SystemCallFilter=`` let through, the first a list to allow.

    systemd adds ``@default`` by itself (systemd.exec(5)).
    """
    first, *later = filters
    assert not first.startswith("~")
    calls = expand(["@default", *first.split()], sets)
    for words in later:
        if words.startswith("~"):
            calls -= expand(words[1:].split(), sets)
        else:
            calls |= expand(words.split(), sets)
    return calls


def tracing(output: Path) -> list[str]:
    """A command line of which the traced program takes the place, the tracer being beside it.

    The program is not root, as under the unit: SQLite, for one, asks for more when it is.
    """
    command = [program("strace", "strace"), "-D", "-f", "-s", "0", "-o", str(output)]
    if os.geteuid() == 0:
        unshare = program("unshare", "util-linux")
        command = [unshare, "--user", "--map-user=65534", "--map-group=65534", *command]
    tried = subprocess.run([*command, "true"], check=False, capture_output=True, text=True)
    demand([] if tried.returncode == 0 else [f"the right to trace ({tried.stderr.strip()})"])
    return command


def systemd_sets() -> dict[str, set[str]]:
    """The sets of the systemd of this machine."""
    command = [program("systemd-analyze", "systemd"), "--no-pager", "syscall-filter"]
    return read_sets(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
