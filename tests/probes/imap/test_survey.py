"""What a survey says of an account: on a server that behaves, and on some that do not."""

import ssl
from pathlib import Path

import pytest
import trustme

from probes.contract.config.models import ImapTls
from probes.contract.secret import Secret
from probes.contract.stages import Reason, Stage
from probes.imap.model import ImapStage
from probes.imap.survey import FolderLook, survey
from tests.probes.imap.scripted import Conversation, ScriptedServer, select


async def _list(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    await conversation.send(
        rb'* LIST (\HasNoChildren) "/" INBOX',
        rb'* LIST (\HasNoChildren \Junk) "/" "Junk Mail"',
        tag + b" OK listed",
    )


async def _select(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
    if arguments == b'"INBOX"':
        await select(conversation, tag, arguments)
    elif arguments == b'"Junk Mail"':
        await conversation.send(
            b"* 3 EXISTS", b"* OK [UIDVALIDITY 9] ok", tag + b" OK [READ-ONLY] selected"
        )
    else:
        await conversation.send(tag + b" NO [NONEXISTENT] no such folder")


async def _quota(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    await conversation.send(
        b"* QUOTAROOT INBOX user", b"* QUOTA user (STORAGE 90 100)", tag + b" OK done"
    )


async def _logout(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    await conversation.send(b"* BYE bye", tag + b" OK done")


@pytest.fixture
def account(server: ScriptedServer) -> ScriptedServer:
    """The scripted server with the commands that a survey uses."""
    server.script |= {
        "LIST": _list,
        "SELECT": _select,
        "GETQUOTAROOT": _quota,
        "LOGOUT": _logout,
    }
    return server


async def test_a_whole_survey(account: ScriptedServer) -> None:
    account.mailbox.add()
    seen = await survey(account.target(), ["INBOX", "Spam", "Junk Mail", "INBOX"])
    assert seen.failure is None
    assert seen.peer == "127.0.0.1"
    assert seen.tls is None
    assert [(folder.name, folder.is_junk) for folder in seen.folders] == [
        ("INBOX", False),
        ("Junk Mail", True),
    ]
    assert seen.looks == {
        "INBOX": FolderLook("INBOX", uidvalidity=7, uidnext=2, exists=1),
        "Spam": FolderLook("Spam", refused="[NONEXISTENT] no such folder"),
        # What INBOX told of itself is not taken for this one's.
        "Junk Mail": FolderLook("Junk Mail", uidvalidity=9, exists=3, read_only=True),
    }
    assert seen.quota == pytest.approx(0.9)
    assert seen.offers("IDLE")
    assert seen.offers("UIDPLUS")
    assert not seen.offers("CONDSTORE")
    assert account.commands[-1] == "LOGOUT"
    assert not {"FETCH", "STORE", "EXPUNGE", "NOOP"} & set(account.commands)


async def test_a_wrong_password_leaves_what_came_before(account: ScriptedServer) -> None:
    seen = await survey(account.target(secret=Secret("Hunter2")), ["INBOX"])
    assert seen.failure is not None
    assert (seen.failure.stage, seen.failure.reason) == (Stage.AUTH, Reason.CREDENTIALS)
    assert seen.peer == "127.0.0.1"
    assert "Hunter2" not in repr(seen)


async def test_a_hung_server_ends_in_time(account: ScriptedServer) -> None:
    async def hang(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
        await conversation.hang()

    account.script["LIST"] = hang
    seen = await survey(account.target(command_timeout_s=0.05), ["INBOX"])
    assert seen.failure is not None
    assert (seen.failure.stage, seen.failure.reason) == (ImapStage.SELECT, Reason.TIMEOUT)
    assert seen.offers("IDLE")


async def test_denied_addresses_are_not_connected_to(account: ScriptedServer) -> None:
    seen = await survey(account.target(), ["INBOX"], permits=lambda _: False)
    assert seen.failure is not None
    assert (seen.failure.stage, seen.failure.reason) == (Stage.RESOLVE, Reason.POLICY)
    assert account.commands == []


async def test_tls_is_described(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    server = ScriptedServer()
    server.script |= {"LIST": _list, "SELECT": _select, "GETQUOTAROOT": _quota, "LOGOUT": _logout}
    async with server.running(context):
        target = server.target(tls=ImapTls.IMPLICIT, ca_file=str(tmp_path / "ca.pem"))
        seen = await survey(target, ["INBOX"])
        assert seen.failure is None
        assert seen.tls is not None
        assert seen.tls.version == "TLSv1.3"
        assert seen.tls.certificate
        assert (await survey(server.target(tls=ImapTls.IMPLICIT), [])).failure is not None
