"""Where secrets are read from, and which files are refused, without a word of what is in them."""

import os
import traceback
from pathlib import Path

import pytest

from agent.policy.secrets import MAX_BYTES, Secrets, credential, variable
from probes.contract.errors import SecretError

from .conftest import MakeVault, WriteSecret

RULE = 'secrets: [{secret: acme/imap, to: ["imap.acme.example:993"]}]\n'
VALUE = "hunter2-hunter2"


def _value(vault: Secrets) -> str:
    return vault.grant("acme/imap", "imap.acme.example", 993).secret.reveal()


def _refusal(vault: Secrets) -> str:
    with pytest.raises(SecretError) as caught:
        _value(vault)
    whole = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "hunter2" not in whole
    return str(caught.value)


def test_the_first_source_that_has_it_wins(
    vault: MakeVault, secret: WriteSecret, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "acme__imap").write_text("from-credentials")
    (credentials / "acme__imap").chmod(0o400)
    environment = {
        "CREDENTIALS_DIRECTORY": str(credentials),
        "MAILCANARY_SECRET_ACME__IMAP": "from-environment",
    }
    more = f"sources: {{directory: {tmp_path}/secrets, environment: true}}\n" + RULE
    file = secret("acme/imap", b"from-directory\n")
    assert _value(vault(more, **environment)) == "from-directory"
    file.unlink()
    assert _value(vault(more, **environment)) == "from-credentials"
    (credentials / "acme__imap").unlink()
    assert _value(vault(more, **environment)) == "from-environment"
    del environment["MAILCANARY_SECRET_ACME__IMAP"]
    assert _refusal(vault(more, **environment)) == (
        f"secret acme/imap: found none, looked in {file}, {credentials}/acme__imap, "
        "$MAILCANARY_SECRET_ACME__IMAP"
    )


def test_sources_that_are_off_are_not_looked_into(vault: MakeVault, tmp_path: Path) -> None:
    (tmp_path / "acme__imap").write_text(VALUE)
    environment = {
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "MAILCANARY_SECRET_ACME__IMAP": VALUE,
    }
    off = vault("sources: {credentials: false}\n" + RULE, **environment)
    assert "no source: the policy's 'sources' names none" in _refusal(off)


def test_names_elsewhere() -> None:
    assert variable("acme/imap-2.x") == "MAILCANARY_SECRET_ACME__IMAP_2_X"
    assert credential("acme/imap-2.x") == "acme__imap-2.x"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_one_line_end_is_cut_off(vault: MakeVault, secret: WriteSecret, end: bytes) -> None:
    secret("acme/imap", VALUE.encode() + b" " + end)
    assert _value(vault(RULE)) == VALUE + " "


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o777])
def test_a_file_open_to_others_is_refused(vault: MakeVault, secret: WriteSecret, mode: int) -> None:
    secret("acme/imap", mode=mode)
    text = _refusal(vault(RULE))
    assert f"found mode {mode:04o}" in text
    assert "chmod o=" in text


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o660])
def test_a_file_of_owner_and_group_is_read(
    vault: MakeVault, secret: WriteSecret, mode: int
) -> None:
    secret("acme/imap", mode=mode)
    assert _value(vault(RULE)) == VALUE


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"hunter2-\xff\xfe", "bytes that are no UTF-8"),
        (b"hunter2\nhunter2\n", "no single line of text"),
        (b"hunter2\n\n", "no single line of text"),
        (b"hunter2\rhunter2", "no single line of text"),
        (b"hunter2\0", "no single line of text"),
        (b"", "no single line of text"),
        (b"\n", "no single line of text"),
        (b"hunter2" * MAX_BYTES, f"more than {MAX_BYTES} bytes"),
    ],
)
def test_content_that_is_no_secret(
    vault: MakeVault, secret: WriteSecret, data: bytes, found: str
) -> None:
    file = secret("acme/imap", data)
    assert f"{file}: found {found}" in _refusal(vault(RULE))


@pytest.mark.parametrize("value", ["", "hunter2\nhunter2", os.fsdecode(b"hunter2\xff")])
def test_a_variable_is_judged_like_a_file(vault: MakeVault, value: str) -> None:
    more = "sources: {environment: true}\n" + RULE
    text = _refusal(vault(more, MAILCANARY_SECRET_ACME__IMAP=value))
    assert text.startswith("$MAILCANARY_SECRET_ACME__IMAP: found ")


def test_the_largest_secret(vault: MakeVault, secret: WriteSecret) -> None:
    secret("acme/imap", b"x" * MAX_BYTES)
    assert len(_value(vault(RULE))) == MAX_BYTES


def test_a_directory_and_a_pipe_are_no_secrets(vault: MakeVault, tmp_path: Path) -> None:
    place = tmp_path / "secrets" / "acme" / "imap"
    place.mkdir(parents=True)
    assert f"{place}: found a directory" in _refusal(vault(RULE))
    place.rmdir()
    os.mkfifo(place, 0o600)
    assert f"{place}: found no regular file" in _refusal(vault(RULE))


def test_a_file_in_place_of_the_customers_directory_holds_none(
    vault: MakeVault, secret: WriteSecret
) -> None:
    secret("acme")
    assert "found none, looked in" in _refusal(vault(RULE))


def test_links_are_followed(vault: MakeVault, secret: WriteSecret, tmp_path: Path) -> None:
    secret("..data/value")
    (tmp_path / "secrets" / "acme").mkdir()
    link = tmp_path / "secrets" / "acme" / "imap"
    link.symlink_to("../..data/value")
    assert _value(vault(RULE)) == VALUE
    link.unlink()
    link.symlink_to("imap")
    assert "found too many levels of symbolic links" in _refusal(vault(RULE))


def test_nothing_shows_the_value(vault: MakeVault, secret: WriteSecret) -> None:
    secret("acme/imap")
    keeper = vault(RULE, OTHER="x")
    grant = keeper.grant("acme/imap", "imap.acme.example", 993)
    assert "hunter2" not in f"{grant}{grant!r}{grant.secret}{grant.secret!r}{keeper!r}"
    assert "hunter2" not in repr(vars(keeper))


def test_a_short_key_is_not_shown(vault: MakeVault, secret: WriteSecret) -> None:
    secret("key", b"hunter2")
    with pytest.raises(SecretError) as caught:
        vault().key_ring()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
