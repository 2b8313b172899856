"""What reading a relay's queue costs: 50,000 mails in a real Postfix, and long lists from a file.

The queue is read by the probe in a process of its own and by ``postqueue -j | wc -l``, in turns and
while mail keeps coming in. Most of the time is Postfix', which opens each file of its queue.
"""

import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import msgspec

from benchmarks.figures import Figure, Unavailable, compared
from benchmarks.job import REPOSITORY, command
from benchmarks.mail_estate import mail_estate
from benchmarks.queue_process import Cost
from benchmarks.samples import median
from tests.servers.estate import ServerEstate
from tests.servers.postfix import Postfix
from tests.servers.process import CommandError
from tests.servers.process import run as run_command

MAILS = 50_000
ROUNDS = 3
ENTRIES = (100_000, 1_000_000)

_WC = "postqueue -j | wc -l, same run"


def run(
    mails: int = MAILS, rounds: int = ROUNDS, entries: tuple[int, int] = ENTRIES
) -> list[Figure]:
    """CPU, time and memory for a real queue, and memory for lists that are ten times as long."""
    with mail_estate(("acme",)) as estate:
        relay = estate.relays[0]
        # Nothing is tried: all goes from the active into the deferred queue at once.
        relay.configure(defer_transports="smtp", qmgr_message_active_limit="1000")
        _fill(estate, relay, mails)
        with _mail_coming_in(estate, relay):
            pairs = [(_probe(relay), _wc(relay)) for _ in range(rounds)]
    return _figures(pairs) + memory(entries)


def _figures(pairs: list[tuple[Cost, float]]) -> list[Figure]:
    costs = [cost for cost, _ in pairs]
    mails = median([float(cost.mails) for cost in costs])
    cpu_us = median([1e6 * cost.cpu_s / cost.mails for cost in costs])
    return [
        Figure("queue.mails", mails, "mails", "in a real Postfix, while more come in"),
        compared(
            "queue.seconds",
            median([cost.seconds for cost in costs]),
            "s",
            _WC,
            median([seconds for _, seconds in pairs]),
        ),
        Figure("queue.cpu", cpu_us, "µs/mail", "of the agent; what Postfix takes is left out"),
        Figure("queue.peak", median([cost.peak / 2**20 for cost in costs]), "MiB", "peak memory"),
        Figure("queue.waited", max(cost.waited_s for cost in costs) * 1e3, "ms", "others' wait"),
    ]


def memory(entries: tuple[int, int] = ENTRIES) -> list[Figure]:
    """Peak memory for a list of the one length beside one of the other; cost of an entry."""
    few, many = (_replay(count) for count in entries)
    return [
        compared(
            "queue.peak_long",
            many.peak / 2**20,
            "MiB",
            f"{entries[1]:,} entries beside {entries[0]:,}",
            few.peak / 2**20,
        ),
        Figure(
            "queue.rate", many.mails / many.seconds, "entries/s", "from a file, through a child"
        ),
        Figure("queue.waited_long", many.waited_s * 1e3, "ms", "others' wait"),
    ]


def _cost(*argv: str) -> Cost:
    done = subprocess.run(
        command("queue_process", *argv),
        stdout=subprocess.PIPE,
        check=True,
        cwd=REPOSITORY,
        timeout=400,
    )
    return msgspec.json.decode(done.stdout, type=Cost)


def _replay(entries: int) -> Cost:
    with tempfile.NamedTemporaryFile("w", prefix="mailcanary-queue-") as file:
        for number in range(entries):
            file.write(_entry(number))
        file.flush()
        cost = _cost("/bin/cat", file.name)
    assert (cost.mails, cost.unreadable) == (entries, 0)
    return cost


def _entry(number: int) -> str:
    """One of Postfix; 5,000 domains, a fifth of the texts with a number of their own."""
    domain = f"domain-{number * 7919 % 5_000}.example"
    host = f"mx.{domain}[192.0.2.{number % 250}]"
    text = f"connect to {host}:25: Connection timed out"
    if number % 5 == 0:
        text = f"host {host} said: 451 4.7.1 later, id {number:x} (in reply to RCPT TO command)"
    return (
        f'{{"queue_name": "deferred", "queue_id": "{number:012X}", "arrival_time": 1760000000, '
        f'"message_size": {number % 90_000}, "forced_expire": false, '
        f'"sender": "sender-{number}@customer.example", '
        f'"recipients": [{{"address": "user-{number}@{domain}", "delay_reason": "{text}"}}]}}\n'
    )


def _postqueue(relay: Postfix) -> list[str]:
    return relay.namespace.command(["/usr/sbin/postqueue", "-c", relay.directory / "etc", "-j"])


def _probe(relay: Postfix) -> Cost:
    return _cost(*_postqueue(relay))


def _wc(relay: Postfix) -> float:
    began = perf_counter()
    subprocess.run(
        ["sh", "-c", '"$@" | wc -l', "sh", *_postqueue(relay)],
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=400,
    )
    return perf_counter() - began


def _send(estate: ServerEstate, relay: Postfix, count: int) -> None:
    words = ["smtp-source", "-s", "8", "-l", "400", "-m", str(count)]
    addresses = ["-f", estate.sender("load"), "-t", estate.mailboxes["acme"].address]
    run_command([*words, *addresses, f"inet:{relay.address}:25"], timeout=400)


def _fill(estate: ServerEstate, relay: Postfix, mails: int) -> None:
    try:
        _send(estate, relay, mails)
    except CommandError as error:
        raise Unavailable(f"smtp-source (Debian package postfix): {error}") from error


@contextmanager
def _mail_coming_in(estate: ServerEstate, relay: Postfix) -> Iterator[None]:
    """One hundred mails again and again."""
    over = threading.Event()

    def load() -> None:
        while not over.wait(0.5):
            _send(estate, relay, 100)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
