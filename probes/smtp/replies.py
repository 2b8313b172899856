"""What the relay answered: pure functions from replies to results."""

import re
from collections.abc import Container

from probes.contract.events import Reply
from probes.contract.stages import Reason, Result, Stage

TEXT_LIMIT = 1000
"""Characters of a reply's text that are kept."""

DETAIL_LIMIT = 300
"""Characters of a reply's text that a failure's one-line detail quotes."""

_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}(?![\w.])")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

_SUCCESS = range(200, 300)
WANTED: dict[Stage, Container[int]] = {
    Stage.BANNER: (220,),
    Stage.EHLO: _SUCCESS,
    Stage.TLS: (220,),
    Stage.AUTH: (235,),
    Stage.MAIL: _SUCCESS,
    Stage.RCPT: _SUCCESS,
    Stage.DATA: (354,),
    Stage.ACCEPT: _SUCCESS,
}
"""The reply codes with which each stage succeeds (RFC 5321 section 4.3.2, RFC 3207, RFC 4954)."""


def enhanced_code(code: int, text: str) -> str | None:
    """The enhanced status code (RFC 3463) at the head of ``text``, if of the same class."""
    found = _ENHANCED.match(text)
    return found.group() if found and found[1] == str(code)[0] else None


def clean(text: str) -> str:
    """``text`` fit for JSON and a terminal: valid Unicode, no controls but line feeds, bounded."""
    if not text.isascii():
        # Undecodable bytes arrive as surrogates.
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\t", " "))
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def make_reply(code: int, text: str) -> Reply:
    """The reply with its text as the relay wrote it, enhanced code included, but cleaned."""
    text = clean(text)
    return Reply(code, enhanced_code(code, text), text)


def one_line(reply: Reply) -> str:
    """``550 5.1.1 unknown user``: the reply in a line, the enhanced code once, bounded."""
    first, *rest = reply.text.split("\n")
    if reply.enhanced:
        rest = [line.removeprefix(reply.enhanced).lstrip() for line in rest]
    line = " ".join([str(reply.code), first, *rest]).rstrip()
    return line if len(line) <= DETAIL_LIMIT else line[: DETAIL_LIMIT - 1] + "…"


def verdict(
    stage: Stage, code: int, wanted: Container[int] | None = None
) -> tuple[Result, Reason] | None:
    """What a reply at a stage means; ``None`` when it is (one of) the wanted.

    A refusal of STARTTLS or AUTH is ``failed``, for it is not the mail that is refused; a 421 is
    ``deferred`` anywhere, since the relay is closing (RFC 5321 section 3.8). A reply to the final
    dot that is none of 2xx, 4xx and 5xx leaves ``unknown`` whether the relay has the mail.
    """
    if code in (WANTED[stage] if wanted is None else wanted):
        return None
    aside = stage in (Stage.TLS, Stage.AUTH) and code != 421
    if 400 <= code < 500:
        return (Result.FAILED if aside else Result.DEFERRED), Reason.REPLY_4XX
    if stage is Stage.AUTH and code == 535:
        return Result.FAILED, Reason.CREDENTIALS
    if 500 <= code < 600:
        return (Result.FAILED if aside else Result.REJECTED), Reason.REPLY_5XX
    return (Result.UNKNOWN if stage is Stage.ACCEPT else Result.FAILED), Reason.PROTOCOL
