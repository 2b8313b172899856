"""The agent's ports on the real network: the probes, fed with secrets under the agent's policy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from agent.assignment import Assignment
from agent.clock import Clock
from agent.mailbox.arrivals import HEADER_FIELDS
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets
from agent.policy.targets import imap_target, permits, smtp_target
from probes.contract.config.models import Relay
from probes.contract.errors import SecretError
from probes.contract.stages import Reason, Result, Stage
from probes.imap import FolderSession
from probes.imap.connect import MAILBOXES
from probes.resolver import Lookups, OwnFaultError
from probes.smtp import Mail, SendReport, send
from probes.smtp.dial import PATIENCE_S, RELAYS, begin_lookup

# A handshake takes milliseconds of CPU, and thousands of folders are opened when an agent starts.
_OPENING = 50
_OPENING_S = 2.0


class SmtpServers:
    """Sends canaries to the relays of an assignment."""

    def __init__(
        self,
        assignment: Assignment,
        policy: PolicyFile,
        secrets: Secrets,
        clock: Clock,
        *,
        lookups: Lookups = RELAYS,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._assignment = assignment
        self._helo = assignment.helo
        self._policy = policy
        self._secrets = secrets
        self._clock = clock
        self._lookups = lookups
        self._patience_s = patience_s

    def assign(self, assignment: Assignment) -> None:
        """Send by that assignment from the next attempt on."""
        self._assignment = assignment
        # What is under way when it is to send no more goes out under the name that it had.
        self._helo = assignment.helo or self._helo

    async def send(
        self, relay: Relay, mail: Callable[[], Mail], on_data_sent: Callable[[], None]
    ) -> SendReport:
        """One attempt on a fresh connection; a secret that may not be used sends nothing.

        Nor does an agent that is behind with its lookups: that is not the relay's fault. The
        attempt begins, and ``mail`` is called, when the lookup has begun.
        """
        try:
            target = smtp_target(
                relay,
                self._helo,
                self._assignment.timeouts,
                self._policy,
                self._secrets,
            )
        except SecretError as error:
            return SendReport(
                result=Result.UNSENT, stage=Stage.AUTH, reason=Reason.SECRET, detail=str(error)
            )
        try:
            resolve = await begin_lookup(target, self._lookups, self._patience_s)
        except OwnFaultError as error:
            detail = f"{Stage.RESOLVE}: {error}"
            return SendReport(
                result=Result.UNSENT, stage=Stage.RESOLVE, reason=Reason.LOCAL, detail=detail
            )
        clock = self._clock
        return await send(
            target,
            mail(),
            wall_ns=lambda: clock.now().wall_ns,
            on_data_sent=on_data_sent,
            resolve=resolve,
        )


class _Gate:
    """Lets only so many in at a time.

    Who takes long stays inside but makes room for the next: servers that do not answer must not
    keep the others waiting.
    """

    def __init__(self, places: int, holds_s: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._holds_s = holds_s

    @contextlib.asynccontextmanager
    async def pass_through(self) -> AsyncIterator[None]:
        """Wait for a place, and leave it at the end of the block, or after ``holds_s`` seconds."""
        await self._places.acquire()
        inside = True

        def leave() -> None:
            nonlocal inside
            if inside:
                inside = False
                self._places.release()

        timer = asyncio.get_running_loop().call_later(self._holds_s, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()


class ImapServers:
    """Opens the mailboxes of an assignment, ``opening`` of them at a time, or a few more: one that
    takes longer than ``opening_s`` seconds makes room for the next.

    ``command_s`` is how long a server may take to answer; the timeouts of the configuration are
    about relays.
    """

    def __init__(
        self,
        assignment: Assignment,
        policy: PolicyFile,
        secrets: Secrets,
        clock: Clock,
        *,
        command_s: float = 30.0,
        lookups: Lookups = MAILBOXES,
        opening: int = _OPENING,
        opening_s: float = _OPENING_S,
    ) -> None:
        self._assignment = assignment
        self._policy = policy
        self._secrets = secrets
        self._clock = clock
        self._command_s = command_s
        self._lookups = lookups
        self._gate = _Gate(opening, opening_s)

    def assign(self, assignment: Assignment) -> None:
        """Open that assignment's mailboxes from now on; connections that are open stay open."""
        self._assignment = assignment

    async def open(self, mailbox: str, folder: str) -> FolderSession:
        """Connect, log in and select.

        Raises:
            ImapFailure: with the stage and the reason; also when the policy forbids it.
        """
        clock = self._clock
        target = imap_target(self._assignment.mailboxes[mailbox].imap, self._policy, self._secrets)
        async with self._gate.pass_through():
            return await FolderSession.open(
                replace(target, command_timeout_s=self._command_s),
                folder,
                header_fields=HEADER_FIELDS,
                permits=permits(self._policy),
                lookups=self._lookups,
                clock=lambda: clock.now().boot_ns,
            )
