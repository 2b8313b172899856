"""Authentication-Results (RFC 8601): the verdicts on SPF, DKIM and DMARC of the mailbox's server.

Why there is a parser here is told in ``docs/decisions/authentication-results-parser.md``.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from probes.contract.events import AuthResults
from probes.headers.text import Kind, Token, clean, tokens

MAX_FIELDS = 50
MAX_FIELD = 16_384
_MAX_KEYWORD = 32
_METHODS = frozenset({"spf", "dkim", "dmarc"})
_VERSION = "1"


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One ``resinfo``: method and result in lower case, properties as ``ptype.property``."""

    method: str
    result: str
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuthField:
    """One field: who wrote it (lower case), and the results it gives, none for ``none``."""

    authserv_id: str
    results: tuple[MethodResult, ...]


def authentication_results(fields: Sequence[str], authserv_id: str | None) -> AuthResults | None:
    """The verdicts of ``authserv_id`` in the Authentication-Results ``fields`` of a message.

    ``fields`` stand as in the header: the latest on top. ``None`` where no field of the
    configured id is there; a method that none of them tells of is ``None`` inside. Anyone on the
    way can write such a field, so one without an id, or with another, counts nothing wherever it
    stands (RFC 8601 section 7.1); ids compare without regard to case (section 2.5).

    Several fields of the id: a server may write one per method, so each method is looked for in
    all of them; the topmost that has it wins, since the last one written is the nearest to the
    mailbox. Several results of a method in one field: for DKIM one for each signature, of which
    a pass is enough; for SPF that of MAIL FROM before that of HELO; otherwise the first.
    """
    if authserv_id is None:
        return None
    wanted = authserv_id.lower()
    verdicts: dict[str, str] = {}
    found = False
    for text in fields[:MAX_FIELDS]:
        parsed = parse_authentication_results(text)
        if parsed is None or parsed.authserv_id != wanted:
            continue
        found = True
        for method in _METHODS:
            results = [result for result in parsed.results if result.method == method]
            if results and method not in verdicts:
                verdicts[method] = _verdict(method, results)
    if not found:
        return None
    return AuthResults(
        spf=verdicts.get("spf"), dkim=verdicts.get("dkim"), dmarc=verdicts.get("dmarc")
    )


def _verdict(method: str, results: list[MethodResult]) -> str:
    if method == "dkim" and any(result.result == "pass" for result in results):
        return "pass"
    if method == "spf":
        for result in results:
            if "smtp.mailfrom" in result.properties:
                return result.result
    return results[0].result


def parse_authentication_results(text: str) -> AuthField | None:
    """One field's value by the grammar of RFC 8601 section 2.2, or ``None`` without an id.

    More is taken than the grammar has: a final ``;``, properties without ``ptype`` (Exchange's
    ``action=none``), unquoted values of any kind, and a missing ``;`` before spf, dkim or dmarc
    (Zoho). A field or method of a version other than 1 is skipped: what its results mean is not
    known. Never raises; linear in the length of ``text``.
    """
    segments = _segments(tokens(text[:MAX_FIELD], ";="))
    head = next(segments, [])
    if not head or any(token.kind is Kind.MARK for token in head):
        return None
    authserv_id = clean(head[0].text, 255).lower()
    if not authserv_id:
        return None
    if len(head) > 1 and head[1].text != _VERSION:
        return AuthField(authserv_id, ())
    results = [result for segment in segments for result in _results(segment)]
    return AuthField(authserv_id, tuple(results))


def _segments(stream: Iterable[Token]) -> Iterator[list[Token]]:
    """The tokens between the ``;``, comments left out; the head comes even when it is empty."""
    segment: list[Token] = []
    for token in stream:
        if token.kind is Kind.MARK and token.text == ";":
            yield segment
            segment = []
        elif token.kind is not Kind.COMMENT:
            segment.append(token)
    yield segment


def _results(segment: list[Token]) -> Iterator[MethodResult]:
    """The results in one segment: one, or more where a server forgot a ``;``."""
    current: MethodResult | None = None
    for name, value in _pairs(segment):
        method, slash, version = name.partition("/")
        is_first = current is None
        if is_first or (method in _METHODS and "." not in name):
            if current is not None:
                yield current
            current = None
            if slash and version != _VERSION:
                return
            if not _is_keyword(method) or not _is_keyword(value.lower()):
                return
            current = MethodResult(method, value.lower())
        elif current is not None:
            current.properties.setdefault(name, value)
    if current is not None:
        yield current


def _pairs(segment: list[Token]) -> Iterator[tuple[str, str]]:
    """The ``name = value`` pairs; white space around ``/``, ``.`` and ``=`` is allowed."""
    for index, token in enumerate(segment):
        if token.kind is not Kind.MARK:
            continue
        name = _name_before(segment, index)
        if name:
            after = segment[index + 1] if index + 1 < len(segment) else None
            value = after.text if after is not None and after.kind is not Kind.MARK else ""
            yield name, clean(value, 255)


def _name_before(segment: list[Token], end: int) -> str:
    """The words before ``end``, glued together over lone or dangling ``/`` and ``.``."""
    name = ""
    for index in range(end - 1, max(-1, end - 6), -1):
        token = segment[index]
        follows_equals = index > 0 and segment[index - 1].kind is Kind.MARK
        if token.kind is not Kind.WORD or follows_equals:
            break
        if name and not (token.text[-1] in "/." or name[0] in "/."):
            break
        name = token.text + name
    return clean(name, 255).lower()


def _is_keyword(text: str) -> bool:
    """RFC 5321's Keyword: letters, digits and inner hyphens."""
    return (
        0 < len(text) <= _MAX_KEYWORD
        and text.isascii()
        and text.replace("-", "").isalnum()
        and text[0] != "-"
        and text[-1] != "-"
    )
