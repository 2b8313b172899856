"""What the tests on real servers need of the machine, and what happens where it is missing."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal

REQUIRE_VARIABLE = "MAILCANARY_REQUIRE_SERVERS"
"""Set to 1 where the servers must be there, as in CI: a test that would be skipped fails."""

PROGRAMS = {
    "postfix": "postfix",
    "postqueue": "postfix",
    "dovecot": "dovecot-imapd",
    "nft": "nftables",
    "ip": "iproute2",
}
"""Each program with the Debian package that brings it."""

DOVECOT_LMTP = "/usr/lib/dovecot/lmtp"
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def missing_requirements(
    uid: int, find: Callable[[str], str | None], namespaces_error: Callable[[], str | None]
) -> list[str]:
    """What keeps this machine from running the servers, one phrase for each lack.

    `find` gives a program's path or None. `namespaces_error` tries to make a network namespace and
    says why that failed, or None; it is asked only when everything else is there.
    """
    lacks = [] if uid == 0 else [f"root (this is uid {uid})"]
    lacks += [
        f"{program} (Debian package {package})"
        for program, package in PROGRAMS.items()
        if find(program) is None
    ]
    if find(DOVECOT_LMTP) is None:
        lacks.append(f"{DOVECOT_LMTP} (Debian package dovecot-lmtpd)")
    if not lacks and (error := namespaces_error()) is not None:
        lacks.append(f"network namespaces ({error})")
    return lacks


def verdict(
    lacks: list[str], environment: Mapping[str, str]
) -> tuple[Literal["run", "skip", "fail"], str]:
    """Whether a test that needs the servers runs, is skipped or fails, and the message for it."""
    if not lacks:
        return "run", ""
    message = "needs " + ", ".join(lacks)
    required = environment.get(REQUIRE_VARIABLE, "") not in {"", "0"}
    if required:
        return "fail", f"{message}; {REQUIRE_VARIABLE} forbids skipping"
    return "skip", message


def _find(program: str) -> str | None:
    return shutil.which(program, path=SYSTEM_PATH)


def _namespaces_error() -> str | None:
    name = f"mc-try-{os.getpid()}"
    made = subprocess.run(
        ["ip", "netns", "add", name], capture_output=True, text=True, check=False, timeout=20
    )
    if made.returncode != 0:
        return made.stderr.strip() or f"ip netns add: exit {made.returncode}"
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=20)
    return None


@cache
def machine_lacks() -> tuple[str, ...]:
    """`missing_requirements` of the machine that this process runs on."""
    return tuple(missing_requirements(os.geteuid(), _find, _namespaces_error))
