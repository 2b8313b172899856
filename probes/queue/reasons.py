"""What a mail server's words say of why it could not hand a mail on; pure.

The words are those of Postfix (in its queue and its DSNs) and of Exim (in its DSNs; its list of the
queue gives none). What is not known stays unknown: a stage is evidence, and not to be guessed.
"""

import re
from functools import lru_cache

from probes.contract.stages import Reason, Stage

Why = tuple[Stage | None, Reason]
"""The stage at which it failed and the reason; unknown words are ``(None, Reason.OTHER)``."""

MAX_READ = 2_000
"""Characters of a text that are looked at: its beginning, and a piece of its end."""

_END = 200

_HOST = r"\S+?\[[^\]\s]*\](?::\d+)?"

_ERRORS: tuple[tuple[str, Reason], ...] = (
    # The C library's words for errno, and Exim's where they are others.
    ("connection timed out", Reason.TIMEOUT),
    ("operation timed out", Reason.TIMEOUT),
    ("connection refused", Reason.REFUSED),
    ("no route to host", Reason.UNREACHABLE),
    ("network is unreachable", Reason.UNREACHABLE),
    ("network is down", Reason.UNREACHABLE),
    ("host is down", Reason.UNREACHABLE),
    ("host is unreachable", Reason.UNREACHABLE),
    ("connection reset by peer", Reason.RESET),
    ("cannot assign requested address", Reason.LOCAL),
    ("operation not permitted", Reason.LOCAL),
    ("permission denied", Reason.LOCAL),
    ("no such file or directory", Reason.LOCAL),
)
"""Of a connection that did not come about."""

_DOING: tuple[tuple[str, Stage], ...] = (
    # Postfix, smtp_proto.c: "while" it did what.
    ("receiving the initial server greeting", Stage.EGRESS_BANNER),
    ("performing the ehlo handshake", Stage.EGRESS_EHLO),
    ("performing the helo handshake", Stage.EGRESS_EHLO),
    ("performing the lhlo handshake", Stage.EGRESS_EHLO),
    ("receiving the starttls response", Stage.EGRESS_TLS),
    ("performing the tls handshake", Stage.EGRESS_TLS),
    ("performing sasl authentication", Stage.EGRESS_AUTH),
    ("sending mail from", Stage.EGRESS_MAIL),
    ("sending rcpt to", Stage.EGRESS_RCPT),
    ("sending data command", Stage.EGRESS_DATA),
    ("sending message body", Stage.EGRESS_DATA),
    ("sending end of data", Stage.EGRESS_ACCEPT),
    # Exim, transports/smtp.c: "after" what.
    ("initial connection", Stage.EGRESS_BANNER),
    ("ehlo", Stage.EGRESS_EHLO),
    ("helo", Stage.EGRESS_EHLO),
    ("lhlo", Stage.EGRESS_EHLO),
    ("starttls", Stage.EGRESS_TLS),
    ("auth", Stage.EGRESS_AUTH),
    ("mail from", Stage.EGRESS_MAIL),
    ("rcpt to", Stage.EGRESS_RCPT),
    ("data", Stage.EGRESS_DATA),
    ("end of data", Stage.EGRESS_ACCEPT),
)
"""How a phase is called by those who failed in it."""

_SAID_TO: tuple[tuple[str, Stage], ...] = (
    ("ehlo command", Stage.EGRESS_EHLO),
    ("helo command", Stage.EGRESS_EHLO),
    ("lhlo command", Stage.EGRESS_EHLO),
    ("starttls command", Stage.EGRESS_TLS),
    ("auth command", Stage.EGRESS_AUTH),
    ("mail from command", Stage.EGRESS_MAIL),
    ("rcpt to command", Stage.EGRESS_RCPT),
    ("data command", Stage.EGRESS_DATA),
    ("end of data command", Stage.EGRESS_ACCEPT),
)
"""What a reply was the answer to, as Postfix says: ``(in reply to RCPT TO command)``."""

_WHOLE: tuple[tuple[str, Why], ...] = (
    # DNS
    ("host or domain name not found", (Stage.EGRESS_RESOLVE, Reason.NO_ADDRESS)),
    ("name service error", (Stage.EGRESS_RESOLVE, Reason.NO_ADDRESS)),
    ("unable to look up host", (Stage.EGRESS_RESOLVE, Reason.NO_ADDRESS)),
    ("host lookup did not complete", (Stage.EGRESS_RESOLVE, Reason.NO_ADDRESS)),
    ("unrouteable address", (Stage.EGRESS_RESOLVE, Reason.NO_ADDRESS)),
    ("does not accept mail (nullmx)", (Stage.EGRESS_RESOLVE, Reason.NO_ADDRESS)),
    # TLS
    ("tls is required, but was not offered", (Stage.EGRESS_TLS, Reason.TLS_NOT_OFFERED)),
    ("server did not offer tls support", (Stage.EGRESS_TLS, Reason.TLS_NOT_OFFERED)),
    ("tls is required, but our tls engine is unavailable", (Stage.EGRESS_TLS, Reason.LOCAL)),
    ("cannot start tls", (Stage.EGRESS_TLS, Reason.TLS_HANDSHAKE)),
    ("a tls session is required, but", (Stage.EGRESS_TLS, Reason.TLS_HANDSHAKE)),
    ("server certificate not trusted", (Stage.EGRESS_TLS, Reason.CERTIFICATE)),
    ("server certificate not verified", (Stage.EGRESS_TLS, Reason.CERTIFICATE)),
    # AUTH
    ("cannot authenticate to server", (Stage.EGRESS_AUTH, Reason.AUTH_NOT_OFFERED)),
    ("no compatible authentication mechanisms", (Stage.EGRESS_AUTH, Reason.AUTH_NOT_OFFERED)),
    # The server's own
    ("local data error while talking to", (None, Reason.LOCAL)),
    ("mail transport unavailable", (None, Reason.LOCAL)),
    ("unknown mail transport error", (None, Reason.LOCAL)),
    ("insufficient system storage", (None, Reason.LOCAL)),
)
"""Words that by themselves say all, wherever they stand in what is not a host's reply."""

_CONNECT = re.compile(rf"connect to ({_HOST}): (.+)")
_LOST = re.compile(rf"lost connection with {_HOST} while (.+)")
_TIMED_OUT = re.compile(rf"conversation with {_HOST} timed out while (.+)")
_REFUSED_TO_TALK = re.compile(rf"host {_HOST} refused to talk to me: (.+)")
_REFUSED_TLS = re.compile(rf"tls is required, but host {_HOST} refused to start tls: (.+)")
_SASL_SAID = re.compile(rf"sasl (?:\[cached\] )?authentication failed; server {_HOST} said: (.+)")
_SAID = re.compile(rf"host {_HOST} said: (.+)")
_IN_REPLY_TO = re.compile(r"\(in reply to ([a-z ]{1,40})\)\s*$")

_EXIM_SAID = re.compile(r"smtp error from remote (?:mail server|mailer) after (.+)")
_EXIM_TIMEOUT = re.compile(r"smtp timeout (?:while connected to \S+ \[\S+\] )?after (.+)")
_EXIM_CLOSED = re.compile(r"remote host closed connection in response to (.+)")
_EXIM_CONNECT = re.compile(r"(?:\[[0-9a-f:.]{2,45}\](?::\d+)?:?|defer \(\d+\):) ([a-z ]{1,60})$")
# A text of several lines has its code before each of them.
_REPLY_AFTER = re.compile(r": (?:host \S+ \[[^\]]*\]: )?([245]\d\d)(?=[ -]|$)")
_CODE = re.compile(r"\s*([245]\d\d)(?=[ -]|$)")

# Postgrey, sqlgrey, policyd and milter-greylist name it; greylistd (Exim) has words of its own.
# Those of rspamd ("Try again later") and OpenBSD's spamd are said of other things, too.
_GREYLISTED = re.compile(
    r"(?<![\w@./-])gr[ae]y[ -]?list(?:ed|ing)\b(?!@|\.\w)"
    r"|is not yet authorized to deliver mail from"
)
_LOOPBACK = re.compile(r"\[(?:127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1|ipv6:::1)\]")
_SUSPENDED = "delivery temporarily suspended: "


def read_reason(text: str) -> Why:
    """The stage and the reason that a server's words give for a mail that it could not hand on.

    Only the way to another host is an ``egress`` stage: what went wrong on the way to a filter on
    the server itself (a loopback address) has a reason and no stage. ``greylisted`` is what says
    so itself in a 4xx reply (RFC 6647); what merely asks to come back is ``reply-4xx``.
    """
    if len(text) > MAX_READ:
        text = f"{text[: MAX_READ - _END]} {text[-_END:]}"
    return _read(text)


# Thousands of mails wait for one reason.
@lru_cache(maxsize=1_024)
def _read(text: str) -> Why:
    words = " ".join(text.lower().split()).removeprefix(_SUSPENDED)
    stage, reason = _postfix(words) or _exim(words) or _known(words) or (None, Reason.OTHER)
    if stage is not None and _first_host_is_local(words):
        return None, reason
    return stage, reason


def _first_host_is_local(words: str) -> bool:
    found = _LOOPBACK.search(words)
    return found is not None and words.index("[") == found.start()


def _postfix(words: str) -> Why | None:
    """smtp_connect.c, smtp_proto.c and smtp_trouble.c; ``None`` for what is not theirs."""
    if found := _CONNECT.match(words):
        return _error(found[2], local="[private/" in found[1] or "[/" in found[1])
    if found := _LOST.match(words):
        return _doing(found[1]), Reason.CLOSED
    if found := _TIMED_OUT.match(words):
        stage = _doing(found[1])
        # Connected, and not a word: how a filter that lets connections through looks.
        return stage, Reason.SILENT if stage is Stage.EGRESS_BANNER else Reason.TIMEOUT
    if found := _REFUSED_TO_TALK.match(words):
        return Stage.EGRESS_BANNER, _reply(found[1])
    if found := _REFUSED_TLS.match(words):
        return Stage.EGRESS_TLS, _reply(found[1])
    if found := _SASL_SAID.match(words):
        return Stage.EGRESS_AUTH, Reason.CREDENTIALS if found[1].startswith("535") else _reply(
            found[1]
        )
    if found := _SAID.match(words):
        to = _IN_REPLY_TO.search(found[1])
        return dict(_SAID_TO).get(to[1]) if to else None, _reply(found[1])
    return None


def _exim(words: str) -> Why | None:
    if found := _EXIM_SAID.search(words):
        reply = _REPLY_AFTER.search(found[1])
        reason = _reply(found[1][reply.start(1) :]) if reply else Reason.OTHER
        return _doing(found[1]), reason
    if found := _EXIM_TIMEOUT.search(words):
        stage = _doing(found[1])
        return stage, Reason.SILENT if stage is Stage.EGRESS_BANNER else Reason.TIMEOUT
    if found := _EXIM_CLOSED.search(words):
        return _doing(found[1]), Reason.CLOSED
    if (found := _EXIM_CONNECT.search(words)) and (why := _error(found[1]))[0]:
        return why
    return None


def _known(words: str) -> Why | None:
    return next((why for known, why in _WHOLE if known in words), None)


def _error(words: str, *, local: bool = False) -> Why:
    """Of what kept a connection from coming about; a socket in the file system is no egress."""
    reason = next((why for known, why in _ERRORS if words.startswith(known)), None)
    if reason is None:
        return None, Reason.OTHER
    return (None if local else Stage.EGRESS_CONNECT), reason


def _doing(words: str) -> Stage | None:
    words = words.removeprefix("pipelined ")
    return next((stage for known, stage in _DOING if words.startswith(known)), None)


def _reply(words: str) -> Reason:
    """By its code (RFC 5321 section 4.2.1); 4xx that say so are greylisting."""
    code = _CODE.match(words)
    if code is None or code[1][0] == "2":
        return Reason.PROTOCOL if code else Reason.OTHER
    if code[1][0] == "5":
        return Reason.REPLY_5XX
    return Reason.GREYLISTED if _GREYLISTED.search(words) else Reason.REPLY_4XX
