"""LIST responses as servers write them, and folders' names out of modified UTF-7."""

import pytest

from probes.imap.folders import decode_name, parse_list
from probes.imap.model import ProtocolError
from probes.imap.wire import folder_name


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ([rb'* LIST (\HasNoChildren) "/" INBOX'], "INBOX"),
        ([rb'* list () NIL "Junk E-Mail"'], "Junk E-Mail"),
        ([rb'* LIST () "\\" "a \"b\" \\c"'], 'a "b" \\c'),
        ([rb'* LIST () "." {5}', b"a (b)", b""], "a (b)"),
        ([rb'* LIST () "/" Entw&APw-rfe'], "Entwürfe"),
        ([rb'* LIST () "/" "A&-B"'], "A&B"),
        ([rb'* LIST () "/" Sub ("CHILDINFO" ("SUBSCRIBED"))'], "Sub"),
    ],
)
def test_names(parts: list[bytes], name: str) -> None:
    assert parse_list(parts).name == name


def test_attributes() -> None:
    junk = parse_list([rb'* LIST (\HasNoChildren \Junk) "/" Spam'])
    assert junk.is_junk
    assert junk.selectable
    parent = parse_list([rb'* LIST (\Noselect \HasChildren) "/" "[Gmail]"'])
    assert not parent.selectable
    assert not parent.is_junk


@pytest.mark.parametrize(
    "parts", [[b"* LIST"], [b"* LIST INBOX"], [b'* LIST () "/" {5}'], [b'* LSUB () "/" INBOX']]
)
def test_what_cannot_be_read(parts: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        parse_list(parts)


@pytest.mark.parametrize("name", ["INBOX", "Entwürfe & Pläne", "迷惑メール", "😀", "a&b", 'x"y\\'])
def test_decoding_undoes_encoding(name: str) -> None:
    encoded = folder_name(name).encode()
    assert parse_list([b'* LIST () "/" ' + encoded]).name == name


def test_names_that_are_not_well_formed_stay_readable() -> None:
    assert decode_name(b"&AP-x") == "&AP-x"
    assert decode_name(b"&2D0-") == "&2D0-"  # half a surrogate pair
    assert decode_name("Entwürfe".encode()) == "Entwürfe"
    assert decode_name(b"\xff") == "\N{REPLACEMENT CHARACTER}"
