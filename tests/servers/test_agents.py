"""A secret that an agent wrote anywhere is found, however it is encoded."""

import base64
from pathlib import Path

import pytest

from tests.servers.agents import leaks

PASSWORD = "a password, not to be told"


@pytest.mark.parametrize(
    "written",
    [
        PASSWORD.encode(),
        f'LOGIN user "{PASSWORD}"'.encode(),
        base64.b64encode(PASSWORD.encode()),
        *(base64.b64encode(f"\0{'u' * n}\0{PASSWORD}".encode()) for n in range(3)),
        PASSWORD.encode().hex().encode(),
    ],
)
def test_a_secret_is_found(tmp_path: Path, written: bytes) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"before " + written + b" after\n")
    assert leaks([file], {"other": "another one", "acme/imap": PASSWORD}) == [
        f"acme/imap in {file}"
    ]


def test_nothing_is_found_where_no_secret_is(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"found credentials refused, allowed is a password that the server takes")
    assert leaks([file], {"acme/imap": PASSWORD}) == []
