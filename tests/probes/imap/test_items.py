"""FETCH responses are read in every form that servers write them in, and broken ones refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.imap.framing import Framer
from probes.imap.items import MAX_DEPTH, FetchReply, Value, parse_fetch
from probes.imap.model import ProtocolError


def parse(stream: bytes) -> FetchReply:
    (response,) = Framer().feed(stream + b"\r\n")
    return parse_fetch(response)


@pytest.mark.parametrize(
    ("stream", "items"),
    [
        (b"* 1 FETCH (UID 5)", {b"UID": b"5"}),
        (b"* 1 fetch (uid 5 )", {b"UID": b"5"}),
        (b"* 1 FETCH ( UID  5)", {b"UID": b"5"}),
        (b"* 1 FETCH (BODY[] NIL UID 5)", {b"BODY[]": None, b"UID": b"5"}),
        (b"* 1 FETCH (body[]<0> nil)", {b"BODY[]<0>": None}),
        (b"* 1 FETCH (BODY[] {3}\r\na)b UID 5)", {b"BODY[]": b"a)b", b"UID": b"5"}),
        (b"* 1 FETCH (BODY[] ~{3}\r\na\x00b)", {b"BODY[]": b"a\x00b"}),
        (rb'* 1 FETCH (BODY[] "a \"b\\ (c" UID 5)', {b"BODY[]": rb'a "b\ (c', b"UID": b"5"}),
        (b'* 1 FETCH (BODY[] "* not a * new line")', {b"BODY[]": b"* not a * new line"}),
        (
            b"* 1 FETCH (BODY[HEADER.FIELDS (X-A X-B)] {0}\r\n FLAGS (\\Seen $a))",
            {b"BODY[HEADER.FIELDS (X-A X-B)]": b"", b"FLAGS": [b"\\Seen", b"$a"]},
        ),
        (
            b'* 1 FETCH (BODY[HEADER.FIELDS ("X-A]")] {1}\r\nx)',
            {b'BODY[HEADER.FIELDS ("X-A]")]': b"x"},
        ),
        (
            b"* 1 FETCH (X-GM-MSGID 12 X (a (b NIL) ()))",
            {b"X-GM-MSGID": b"12", b"X": [b"a", [b"b", None], []]},
        ),
        (b"* 1 FETCH ()", {}),
    ],
)
def test_forms(stream: bytes, items: dict[bytes, Value]) -> None:
    assert parse(stream) == FetchReply(1, items)


@pytest.mark.parametrize(
    "stream",
    [
        b"* 1 FETCH",
        b"* 1 FETCH UID 5",
        b"* 1 FETCH (UID",
        b"* 1 FETCH (UID ",
        b"* 1 FETCH (UID 5",
        b"* 1 FETCH (UID 5) x",
        b"* 1 FETCH (UID )",
        b"* 1 FETCH (5 UID)",
        b"* 1 FETCH (UID 5 UID 6)",
        b'* 1 FETCH (BODY[] "open)',
        b"* 1 FETCH (BODY[] {3}\r\nabc",
        b"* 1 FETCH (BODY[] {3}\r\nabcd)",
        b"* 1 FETCH (FLAGS (\\Seen)",
        b"* 1 FETCH (UID 5) {3}\r\nabc",
        b"* 1 FETCH (X " + b"(" * (MAX_DEPTH + 2) + b")" * (MAX_DEPTH + 2) + b")",
        b"* 99999999999 FETCH (UID 5)",
    ],
)
def test_broken(stream: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(stream)


def test_literal_cut_off() -> None:
    with pytest.raises(ProtocolError, match="literal"):
        parse_fetch([b"* 1 FETCH (BODY[] {3}"])


@pytest.mark.parametrize("value", [b"x", b"NIL", b"99999999999", b'"5x"', b"(5)"])
def test_no_number(value: bytes) -> None:
    with pytest.raises(ProtocolError, match="UID"):
        parse(b"* 1 FETCH (UID %s)" % value).number(b"UID")


def test_number() -> None:
    reply = parse(b"* 1 FETCH (UID 4294967295)")
    assert reply.number(b"UID") == 4294967295
    assert reply.number(b"SIZE") is None


keys = st.sampled_from([b"UID", b"BODY[]", b"BODY[HEADER.FIELDS (A B)]", b"FLAGS", b"X-1.2"])
atoms = st.from_regex(rb"[A-Za-z0-9\\$.:-]{1,8}", fullmatch=True).filter(
    lambda atom: atom.upper() != b"NIL"
)
texts = st.binary(max_size=40)
values = st.recursive(
    st.one_of(
        st.none(), atoms.map(lambda atom: (b"atom", atom)), texts.map(lambda t: (b"text", t))
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def render(value: object, data: st.DataObject) -> bytes:
    """One of the ways to write a value."""
    if value is None:
        return data.draw(st.sampled_from([b"NIL", b"nil"]))
    if isinstance(value, list):
        gap = data.draw(st.sampled_from([b" ", b"  "]))
        return b"(" + gap.join(render(item, data) for item in value) + b")"
    assert isinstance(value, tuple)
    kind, content = value
    if kind == b"atom":
        return bytes(content)
    if b"\r" in content or b"\n" in content or data.draw(st.booleans()):
        return b"{%d}\r\n%s" % (len(content), content)
    return b'"%s"' % content.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def plain(value: object) -> object:
    """What reading it should give."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value[1] if isinstance(value, tuple) else value


@given(st.dictionaries(keys, values, max_size=5), st.data())
def test_round_trip(items: dict[bytes, object], data: st.DataObject) -> None:
    written = b" ".join(
        (key.lower() if data.draw(st.booleans()) else key) + b" " + render(value, data)
        for key, value in items.items()
    )
    assert parse(b"* 17 FETCH (%s)" % written) == FetchReply(
        17,
        {key: plain(value) for key, value in items.items()},  # type: ignore[misc]  # as drawn
    )


@given(st.binary(max_size=60))
def test_garbage_gives_no_other_error(garbage: bytes) -> None:
    try:
        for response in Framer().feed(b"* 1 FETCH (" + garbage + b")\r\n"):
            parse_fetch(response)
    except ProtocolError:
        pass


USUAL = (
    b'* 7 FETCH (UID 5 INTERNALDATE "24-Nov-2026 10:57:01 +0000"'
    b" BODY[HEADER.FIELDS (X-A X)] {3}\r\na:b)"
)


@pytest.mark.parametrize(
    "edit",
    [
        (b"(UID", b"( UID"),  # the same, in a form that is read word by word
        (b"UID", b"uid"),
        (b"{3}\r\na:b", b'"a:b"'),
        (b'"24-Nov', b'"\\24-Nov'),
    ],
)
def test_the_usual_form_says_what_others_say(edit: tuple[bytes, bytes]) -> None:
    assert USUAL.replace(*edit, 1) != USUAL
    assert parse(USUAL.replace(*edit, 1)) == parse(USUAL)
    assert parse(USUAL) == FetchReply(
        7,
        {
            b"UID": b"5",
            b"INTERNALDATE": b"24-Nov-2026 10:57:01 +0000",
            b"BODY[HEADER.FIELDS (X-A X)]": b"a:b",
        },
    )


@pytest.mark.parametrize(
    "edit", [(b"a:b)", b"a:b) x"), (b"a:b)", b"a:b UID 5)"), (b"UID 5", b"UID 55555555555")]
)
def test_the_usual_form_with_something_wrong_is_wrong(edit: tuple[bytes, bytes]) -> None:
    with pytest.raises(ProtocolError):
        parse(USUAL.replace(*edit, 1)).number(b"UID")
