"""Mail that is none of the agent's business, some of it looking as if it were."""

import random
from collections.abc import Callable, Sequence

from probes.contract.names import Path
from probes.contract.secret import Secret
from probes.contract.token import HEADER, Key, Token, write_token
from tests.simulation.scenario import BOXES, RELAYS
from tests.simulation.world import Mail, World

_STRANGER = Key("k1", Secret("another agent's signing key"))


def _letter(*fields: str) -> bytes:
    lines = ("Return-Path: <someone@example.org>", "Subject: hello", *fields, "", "Hello.", "")
    return "\r\n".join(lines).encode()


def _token(rng: random.Random, box: str, agent: str, now_ns: int) -> str:
    token = Token(
        canary=f"{rng.getrandbits(128):032x}",
        path=Path(agent, rng.choice(RELAYS), box),
        stream_epoch="e1",
        path_seq=1,
        mailbox_seq=1,
        sent_ns=now_ns,
    )
    return write_token(token, _STRANGER)


class Strangers:
    """Delivers foreign mail to random mailboxes until ``until_s``, true seconds."""

    def __init__(self, world: World, rng: random.Random, until_s: float) -> None:
        self._world = world
        self._rng = rng
        self._until_s = until_s
        self._kinds: Sequence[Callable[[str], Mail]] = (
            self._plain, self._malformed, self._forged, self._of_another, self._replayed,
            self._altered,
        )  # fmt: skip

    def begin(self) -> None:
        """Let the mails come."""
        after = self._rng.expovariate(1 / self._world.scenario.foreign_every_s)
        if self._world.now() + after < self._until_s:
            self._world.later(after, self._deliver)

    def _deliver(self) -> None:
        box = self._rng.choice(BOXES)
        mail = self._rng.choice(self._kinds)(box)
        self._world.deliver(box, mail, junk=self._rng.random() < 0.2)
        self.begin()

    def _plain(self, box: str) -> Mail:
        sender = "<>" if self._rng.random() < 0.3 else "<friend@example.org>"
        return Mail(_letter(f"To: {box}", f"Return-Path: {sender}"), 0.0, "plain")

    def _malformed(self, box: str) -> Mail:  # noqa: ARG002 - the same wherever it goes
        return Mail(_letter(f"{HEADER}: v=1; id=what; is this"), 0.0, "malformed")

    def _forged(self, box: str) -> Mail:
        """Names our agent and our key's id; the signature is someone else's."""
        value = _token(self._rng, box, "sfo", self._world.server_ns())
        return Mail(_letter(f"{HEADER}: {value}"), 0.0, "forged")

    def _of_another(self, box: str) -> Mail:
        value = _token(self._rng, box, "fra", self._world.server_ns())
        return Mail(_letter(f"{HEADER}: {value}"), 0.0, "foreign")

    def _copy(self) -> tuple[str, Mail] | None:
        truths = [truth for truth in self._world.truths.values() if truth.copies]
        if not truths:
            return None
        truth = self._rng.choice(truths)
        return truth.mailbox, truth.copies[0]

    def _replayed(self, box: str) -> Mail:
        """A genuine canary, delivered again to a mailbox that it was not sent to."""
        found = self._copy()
        if found is None or found[0] == box:
            return self._plain(box)
        return Mail(found[1].raw, 0.0, "replayed")

    def _altered(self, box: str) -> Mail:
        found = self._copy()
        if found is None:
            return self._plain(box)
        # The field may be folded anywhere, so its longest word that is never folded is changed.
        raw = found[1].raw
        at = raw.index(b"t=17") + 4
        return Mail(
            raw[:at] + (b"9" if raw[at : at + 1] != b"9" else b"8") + raw[at + 1 :], 0.0, "altered"
        )
