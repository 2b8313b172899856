"""The canary's token: the one header field that says which canary this is, and proves it.

``Mailcanary: v=1; id=…; a=agent; r=relay; m=customer/mailbox; e=epoch; n=…; s=…; t=…; k=…; h=…``
where ``n`` numbers the canaries of the path, ``s`` those of (agent, mailbox) across relays, ``t``
is the send time in nanoseconds since the Unix epoch, ``k`` the key id and ``h`` the HMAC-SHA256
(RFC 2104) over all fields before it. Field names without ``X-`` follow RFC 6648.

What a signature cannot prevent: whoever holds a genuine canary (a relay, a mailbox's owner) can
deliver it again or elsewhere. That is seen as a duplicate or a replay, not as a forgery.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from probes.contract.errors import TokenError
from probes.contract.names import NAME_PATTERN, Path
from probes.contract.secret import Secret

HEADER = "Mailcanary"
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAME = NAME_PATTERN.removeprefix("^").removesuffix("$")
_NUMBER = "0|[1-9][0-9]{0,18}"
_PATTERNS = {
    "v": "1",
    "id": "[0-9a-f]{32}",
    "a": _NAME,
    "r": _NAME,
    "m": f"{_NAME}/{_NAME}",
    "e": "[0-9a-z]{1,32}",
    "n": _NUMBER,
    "s": _NUMBER,
    "t": _NUMBER,
    "k": _KEY_ID.pattern,
    "h": "[A-Za-z0-9_-]{43}",
}
_WHOLE = re.compile(";".join(f"{name}=(?P<{name}>{text})" for name, text in _PATTERNS.items()))
_FOLDING = str.maketrans("", "", " \t\r\n")
MAX_LENGTH = 1024
MIN_KEY_BYTES = 16


class Token(msgspec.Struct, frozen=True):
    """What a canary says of itself. ``sent_ns`` in nanoseconds since the Unix epoch."""

    canary: str
    path: Path
    stream_epoch: str
    path_seq: int
    mailbox_seq: int
    sent_ns: int


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key. The secret's text is used as UTF-8 bytes, at least 16 of them."""

    id: str
    secret: Secret

    def __post_init__(self) -> None:
        if not _KEY_ID.fullmatch(self.id):
            raise ValueError(
                f"key id {self.id!r}: allowed are 1 to 64 letters, digits, '.', '_', '-'"
            )
        found = len(self.secret.reveal().encode())
        if found < MIN_KEY_BYTES:
            raise ValueError(
                f"key {self.id!r}: found a secret of {found} bytes, allowed are at least "
                f"{MIN_KEY_BYTES} bytes"
            )


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The key that signs, and those that still verify (canaries in the air during a change)."""

    current: Key
    previous: tuple[Key, ...] = ()

    def find(self, key_id: str) -> Key | None:
        """The key of that id, current or previous."""
        for key in (self.current, *self.previous):
            if key.id == key_id:
                return key
        return None


class Judgement(StrEnum):
    """What a header field that looks like a canary's turns out to be."""

    GENUINE = "genuine"
    FOREIGN = "foreign"
    """Another agent's, or signed with a key that is not ours: none of our business."""
    MALFORMED = "malformed"
    FORGED = "forged"
    """Claims to be ours, is signed with a key id of ours, and the signature is wrong."""
    REPLAYED = "replayed"
    """Genuine, but in a mailbox that it was not sent to, or older than is remembered."""


def _mac(key: Key, text: str) -> str:
    digest = hmac.digest(key.secret.reveal().encode(), text.encode(), hashlib.sha256)
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def write_token(token: Token, key: Key) -> str:
    """The field's value, signed; unfolded, with a space after each semicolon for folding."""
    path = token.path
    text = (
        f"v=1; id={token.canary}; a={path.agent}; r={path.relay}; m={path.mailbox}; "
        f"e={token.stream_epoch}; n={token.path_seq}; s={token.mailbox_seq}; "
        f"t={token.sent_ns}; k={key.id}"
    )
    return f"{text}; h={_mac(key, text)}"


def parse_token(value: str) -> tuple[Token, str, str]:
    """The token, its key id and its MAC, all unverified.

    Raises:
        TokenError: when the value is not of the form that :func:`write_token` writes.
    """
    if len(value) > MAX_LENGTH:
        raise TokenError(f"{len(value)} characters: allowed are {MAX_LENGTH}")
    # Relays may fold and unfold (RFC 5322 section 2.2.3); white space has no meaning in any field.
    text = value.translate(_FOLDING)
    found = _WHOLE.fullmatch(text)
    if found is None:
        raise TokenError(_what_is_wrong(text))
    token = Token(
        canary=found["id"],
        path=Path(found["a"], found["r"], found["m"]),
        stream_epoch=found["e"],
        path_seq=int(found["n"]),
        mailbox_seq=int(found["s"]),
        sent_ns=int(found["t"]),
    )
    return token, found["k"], found["h"]


def _what_is_wrong(text: str) -> str:
    parts = [part.partition("=") for part in text.split(";")]
    names = tuple(name for name, _, _ in parts)
    if names != tuple(_PATTERNS):
        return f"fields {','.join(names)[:80]!r}: allowed are {','.join(_PATTERNS)}, in order"
    return "bad field " + ", ".join(
        f"{name}={value[:64]!r}"
        for name, _, value in parts
        if re.fullmatch(_PATTERNS[name], value) is None
    )


def verify(value: str, ring: KeyRing) -> Token | None:
    """The token if a key of the ring signed it, whichever agent's and wherever it was going."""
    try:
        token, key_id, mac = parse_token(value)
    except TokenError:
        return None
    key = ring.find(key_id)
    return token if key is not None and _signed(token, key, mac) else None


def _signed(token: Token, key: Key, mac: str) -> bool:
    expected = write_token(token, key).rpartition("; h=")[2]
    return hmac.compare_digest(expected.encode(), mac.encode())


def judge(
    value: str, ring: KeyRing, *, agent: str, mailbox: str, now_ns: int, remember_s: float
) -> tuple[Judgement, Token | None]:
    """What the ``Mailcanary`` field of a mail found in ``mailbox`` is, and its token if it parses.

    The token of anything but a genuine or replayed canary is unverified: for counting only.
    A send time in the future is possible after a clock was set back and is not held against it.
    """
    try:
        token, key_id, mac = parse_token(value)
    except TokenError:
        return Judgement.MALFORMED, None
    key = ring.find(key_id)
    if key is None or token.path.agent != agent:
        return Judgement.FOREIGN, token
    if not _signed(token, key, mac):
        return Judgement.FORGED, token
    if token.path.mailbox != mailbox or now_ns - token.sent_ns > remember_s * 1e9:
        return Judgement.REPLAYED, token
    return Judgement.GENUINE, token
