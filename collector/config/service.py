"""The configuration in force: read, judged as a whole, replaced as a whole or not at all."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from collector.config.assigned import Assigned, grants
from collector.config.assignments import Board
from collector.config.files import Files, Judge, ReadFiles, Signature, glance, signature
from collector.config.revisions import Revision, Revisions
from collector.own_events import OwnEvents
from probes.contract.config.loader import Checked, config_revision
from probes.contract.config.models import Config
from probes.contract.config.prune import document_of
from probes.contract.errors import ConfigError, MailcanaryError, Problem
from probes.contract.events import Config as ConfigEvent

log = structlog.get_logger(__name__)

POLL_S = 0.2
"""How often it is looked whether a file was replaced."""
LOOKS = 5
"""Every so many looks are at each file, and find what was written in place."""
KEEP_GRANTS_S = 60 * 86400.0
"""For how long an agent may report of what it was once given."""
AGAIN_S = 86400.0
"""The revision in force is written to the log again that often, so that retention keeps one."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The configuration that everybody goes by, and since when."""

    config: Config
    revision: str
    since_ns: int


class ConfigService:
    """Owns the configuration. Used from one event loop.

    ``read`` gives the files as they are on the disk; ``main`` is watched for changes. Whatever
    comes into force is first an event in the log, so that no canary flies under a revision that the
    log does not know.
    """

    def __init__(
        self,
        main: Path,
        read: ReadFiles,
        *,
        own: OwnEvents,
        revisions: Revisions,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._main = main
        self._read = read
        self._own = own
        self._revisions = revisions
        self._now_ns = now_ns
        self._one = asyncio.Lock()
        self._told_ns = 0
        self._told = ""
        self._took: dict[str, float] = {}
        self._judge = Judge()
        self._seen: tuple[Signature, Signature] | None = None
        self._in_force: InForce | None = None
        self._board: Board | None = None
        self.assigned = Assigned()
        self.problems: Sequence[Problem] = ()
        self.warnings: Sequence[Problem] = ()
        self.trouble: str | None = None
        self.reloads = 0
        self.reloads_failed = 0
        self.on_change: Callable[[Config], None] = lambda _config: None

    @property
    def in_force(self) -> InForce:
        """What everybody goes by; there is always one after :meth:`start`."""
        if self._in_force is None:
            raise RuntimeError("the configuration is asked for before it was read")
        return self._in_force

    @property
    def board(self) -> Board:
        """The agents' assignments under it."""
        if self._board is None:
            raise RuntimeError("assignments are asked for before the configuration was read")
        return self._board

    async def start(self) -> None:
        """Put the files' configuration in force; when they are bad, what was in force last.

        Raises:
            ConfigError: the files are bad and there was none before.
            LogError, ControlError: it could not be written down.
        """
        now_ns = self._now_ns()
        for grant in await self._revisions.grants(now_ns - round(KEEP_GRANTS_S * 1e9)):
            self.assigned.learn(grant)
        # Before the files are read, here too: what changes until the watch begins is news to it.
        self._seen = await self._signatures()
        checked = await self._look()
        if checked.config is not None:
            await self._put_in_force(checked.config)
            return
        last = await self._revisions.last()
        if last is None:
            raise ConfigError(list(checked.problems))
        log.critical(
            "the configuration is bad: the last one that was in force is taken up again",
            revision=last.revision,
            problems=[str(problem) for problem in checked.problems],
        )
        await self._put_in_force(Config.model_validate(last.document))

    async def read_files(self) -> Files:
        """The files as they are now."""
        return await asyncio.to_thread(self._read)

    async def judge(self, files: Files) -> Checked:
        """What ``mailcanary check`` would say of ``files``; those of last time are not checked."""
        return await asyncio.to_thread(self._judge.check, files)

    async def reload(self) -> bool:
        """Read the files; whether what they say is in force now.

        A bad file changes nothing but :attr:`problems`. Never raises for what files hold, nor for
        a log that takes nothing: then the next reload tries again.
        """
        async with self._one:
            self.reloads += 1
            checked = await self._look()
            if checked.config is None:
                self.reloads_failed += 1
                return False
            try:
                await self._put_in_force(checked.config)
            except MailcanaryError as error:
                self.reloads_failed += 1
                trouble = f"a new configuration cannot come into force: {error}"
                if trouble != self.trouble:
                    # Tried again with every look at the files: once is enough to be told.
                    log.error(trouble)  # noqa: TRY400 - a full disk is no bug of ours: no traceback
                self.trouble = trouble
                return False
            return True

    async def _look(self) -> Checked:
        began = time.monotonic()
        files = await self.read_files()
        read = time.monotonic()
        checked = await self.judge(files)
        self._took = {"read_s": _seconds(began, read), "check_s": _seconds(read, time.monotonic())}
        # At the start there is nothing in force that could stay; start() tells what becomes of it.
        news = checked.problems != self.problems and self._in_force is not None
        if checked.problems and news:
            log.error(
                "the configuration is bad: what was in force stays",
                problems=[str(problem) for problem in checked.problems],
            )
        if checked.warnings and checked.warnings != self.warnings:
            log.warning("configuration", warnings=[str(warning) for warning in checked.warnings])
        self.problems, self.warnings = checked.problems, checked.warnings
        return checked

    async def _put_in_force(self, config: Config) -> None:
        checked = time.monotonic()
        revision = await asyncio.to_thread(config_revision, config)
        if self._in_force is not None and self._in_force.revision == revision:
            if self._told != revision:
                # The log's last word is of one that did not come into force after all.
                await self._tell(self._in_force, await asyncio.to_thread(document_of, config))
            self.trouble = None
            return
        new = InForce(config, revision, self._now_ns())
        given = await asyncio.to_thread(grants, config)
        document = await asyncio.to_thread(document_of, config)
        if self._told != revision:
            # Once: with a control file that takes nothing this comes back every second, and the
            # log would fill up with it.
            await self._tell(new, document)
        record = Revision(revision, new.since_ns, document)
        await self._revisions.put_in_force(record, given, round(KEEP_GRANTS_S * 1e9))
        # Only now may anybody go by it: whatever happens from here on, it is on the disk.
        for grant in given:
            self.assigned.learn(grant)
        self._in_force, self.trouble = new, None
        if self._board is None:
            self._board = Board(config, revision)
        else:
            self._board.publish(config, revision)
        self.on_change(config)
        told_s = _seconds(checked, time.monotonic())
        log.info("configuration in force", revision=revision, **self._took, told_s=told_s)

    async def _tell(self, new: InForce, document: dict[str, object]) -> None:
        event = ConfigEvent(revision=new.revision, at_ns=new.since_ns, document=document)
        await self._own.append(event)
        self._told, self._told_ns = new.revision, self._now_ns()

    async def watch(self) -> None:
        """Reload whenever a file changed since they were read; for ever."""
        seen = self._seen or await self._signatures()
        for turn in itertools.count(1):
            await asyncio.sleep(POLL_S)
            thorough = turn % LOOKS == 0
            found = await asyncio.to_thread(signature if thorough else glance, self._main)
            news = found != seen[thorough]
            if news or (thorough and self.trouble is not None):
                # Before the files are read: what changes meanwhile is news next time.
                seen = await self._signatures()
                await self.reload()
                # Not where that fell over a fault of ours: the next watch tries again.
                self._seen = seen
            if self._now_ns() - self._told_ns >= AGAIN_S * 1e9:
                await self._tell_again()

    async def _signatures(self) -> tuple[Signature, Signature]:
        return await asyncio.to_thread(lambda: (glance(self._main), signature(self._main)))

    async def _tell_again(self) -> None:
        async with self._one:
            now = self.in_force
            try:
                await self._tell(now, await asyncio.to_thread(document_of, now.config))
            except MailcanaryError as error:
                log.warning("the configuration could not be told again", error=str(error))


def _seconds(begin: float, end: float) -> float:
    return round(end - begin, 4)
