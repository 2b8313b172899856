"""A look at an account that leaves its mail alone: does the login work, what is there and offered?

Nothing is read, flagged or deleted. Folders are selected as an agent selects them, since only that
shows whether it could.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

import aioimaplib

from probes import transports
from probes.imap.collect import Collector
from probes.imap.connect import connect
from probes.imap.folders import ListedFolder, parse_list
from probes.imap.login import greet, log_in, redactor
from probes.imap.model import AddressPolicy, ImapFailure, ImapStage, ImapTarget
from probes.imap.protocol import ImapProtocol, Reply, Request
from probes.imap.replies import quota_ratio
from probes.imap.view import FolderView
from probes.imap.wire import folder_name

_CLOSE_S = 1.0
_MAX_LISTED = 10_000


@dataclass(frozen=True, slots=True)
class TlsSession:
    """The TLS session: ``certificate`` is the server's own (DER)."""

    version: str
    cipher: str
    certificate: bytes | None


@dataclass(frozen=True, slots=True)
class FolderLook:
    """What selecting a folder gave: ``refused`` is the server's NO.

    ``uidnext`` is ``None`` where the server did not tell it. A ``read_only`` folder's messages
    cannot be deleted.
    """

    name: str
    refused: str | None = None
    uidvalidity: int | None = None
    uidnext: int | None = None
    exists: int = 0
    read_only: bool = False


@dataclass(slots=True)
class Survey:
    """What was seen, up to ``failure`` if there was one."""

    peer: str | None = None
    tls: TlsSession | None = None
    capabilities: frozenset[str] = frozenset()
    folders: list[ListedFolder] = field(default_factory=list)
    looks: dict[str, FolderLook] = field(default_factory=dict)
    quota: float | None = None
    """The used share of the fullest quota, 1.0 is full."""
    failure: ImapFailure | None = None

    def offers(self, name: str) -> bool:
        """Whether the server names that capability, whatever its argument."""
        return any(each.partition("=")[0] == name for each in self.capabilities)


async def survey(
    target: ImapTarget, folders: Sequence[str], permits: AddressPolicy | None = None
) -> Survey:
    """Log in, list all folders, select each of ``folders``, ask for the quota, log out.

    Nothing that network or server do raises: it is in the survey.
    """
    surveyor = _Surveyor(target)
    try:
        await surveyor.run(folders, permits)
    except ImapFailure as failure:
        surveyor.seen.failure = failure
    finally:
        await surveyor.close()
    return surveyor.seen


class _Surveyor:
    def __init__(self, target: ImapTarget) -> None:
        self.seen = Survey()
        self._target = target
        self._view = FolderView(lambda: 0)
        self._collector = Collector()
        self._listing = False
        self._protocol: ImapProtocol | None = None

    async def run(self, folders: Sequence[str], permits: AddressPolicy | None) -> None:
        target = self._target
        protocol = await connect(target, permits, self._make_protocol)
        self._protocol = protocol
        self.seen.peer = protocol.transport.get_extra_info("peername", (None,))[0]
        self.seen.tls = _tls(protocol.transport.get_extra_info("ssl_object"))
        await greet(protocol, self._view, target.command_timeout_s)
        await log_in(protocol, self._view, target)
        self.seen.capabilities = self._view.capabilities
        self._listing = True
        await self._run(protocol, ImapStage.SELECT, "LIST", '""', '"*"')
        self._listing = False
        for folder in dict.fromkeys(folders):
            self.seen.looks[folder] = await self._look(protocol, folder)
        if self.seen.offers("QUOTA") and folders:
            root = folder_name(folders[0])
            with self._collector.of(b"QUOTA") as lines:
                await self._run(protocol, ImapStage.QUOTA, "GETQUOTAROOT", root)
            self.seen.quota = quota_ratio(lines)

    async def close(self) -> None:
        protocol = self._protocol
        if protocol is None:
            return
        try:
            if protocol.failure is None:
                request = Request("LOGOUT", protocol.new_tag())
                await protocol.run(ImapStage.LOGOUT, request, _CLOSE_S)
        except ImapFailure:
            pass
        finally:
            if protocol.transport is not None:
                transports.abort(protocol.transport)
            await asyncio.wait({protocol.gone}, timeout=_CLOSE_S)

    def _make_protocol(self) -> ImapProtocol:
        redact = redactor(self._target)
        return ImapProtocol(untagged=self._untagged, on_dead=lambda: None, redact=redact)

    def _untagged(self, parts: Sequence[bytes]) -> None:
        kind = self._view.take(parts)
        if kind == b"LIST" and self._listing and len(self.seen.folders) < _MAX_LISTED:
            self.seen.folders.append(parse_list(parts))
        else:
            self._collector.take(kind, parts)

    async def _run(
        self, protocol: ImapProtocol, step: ImapStage, name: str, *arguments: str
    ) -> Reply:
        request = Request(name, protocol.new_tag(), *arguments)
        return await protocol.run(step, request, self._target.command_timeout_s)

    async def _look(self, protocol: ImapProtocol, folder: str) -> FolderLook:
        # What the folder before told of itself must not be taken for this one's.
        self._view = view = FolderView(lambda: 0)
        reply = await self._run(protocol, ImapStage.SELECT, "SELECT", folder_name(folder))
        if reply.status != "OK":
            # A failed SELECT leaves no folder selected (RFC 3501 section 6.3.1).
            protocol.state = aioimaplib.AUTH
            return FolderLook(folder, refused=protocol.said(reply.text) or "no reason given")
        protocol.state = aioimaplib.SELECTED
        return FolderLook(
            folder,
            uidvalidity=view.uidvalidity,
            uidnext=view.uidnext,
            exists=view.exists,
            read_only=reply.text.upper().startswith(b"[READ-ONLY]"),
        )


def _tls(session: ssl.SSLObject | None) -> TlsSession | None:
    if session is None:
        return None
    cipher = session.cipher()
    return TlsSession(
        version=session.version() or "unknown",
        cipher=cipher[0] if cipher else "unknown",
        certificate=session.getpeercert(binary_form=True),
    )
