"""Customers managed over HTTP: the file in ``customers.d`` stays the one source of truth."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from collector.config.customer_files import CustomerFile, CustomerFiles, to_yaml
from collector.config.hosts import HostPolicy, refused_hosts
from collector.config.service import ConfigService
from collector.config.shown import BrokenError, shown
from collector.config.turns import Turns
from collector.control.audit import Audit, unified_diff
from collector.control.principal import Kind, Principal
from probes.contract.config.models import Customer
from probes.contract.config.prune import customer_document
from probes.contract.config.source import Source
from probes.contract.errors import MailcanaryError, Problem
from probes.contract.names import is_name

T = TypeVar("T")

MAX_TEXT = 256 << 10
"""Characters of one customer's file, as the API takes it."""


class NoCustomerError(MailcanaryError):
    """There is no such customer."""


class NotEditableError(MailcanaryError):
    """The customer is there, but not in a file that the API may write."""


class StaleError(MailcanaryError):
    """The customer has changed since it was read, or exists although it should be new."""


class UnwritableError(MailcanaryError):
    """The customer's file cannot be written or removed now; nothing was changed."""


class RefusedError(MailcanaryError):
    """What was sent cannot come into force; ``errors`` are lines as ``mailcanary check`` has them.

    ``forbidden`` when it would be allowed to an operator.
    """

    def __init__(self, errors: list[str], *, forbidden: bool = False) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors
        self.forbidden = forbidden


Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """One customer in the file's words; ``file`` is ``None`` for one that the main file holds."""

    document: Document
    etag: str | None
    file: str | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A customer as it was written: whether it is new, and whether it is in force already.

    It is not when another file was spoilt meanwhile, or the log takes nothing: then it comes into
    force as soon as that is over.
    """

    found: Found
    created: bool
    in_force: bool


class Customers:
    """Reads and changes customers. Used from one event loop.

    One change at a time is made; what is only read or judged waits for none. ``turns`` bounds what
    one customer may ask.
    """

    def __init__(
        self,
        config: ConfigService,
        files: CustomerFiles,
        audit: Audit,
        policy: HostPolicy,
        turns: Turns | None = None,
    ) -> None:
        self._config = config
        self._files = files
        self._audit = audit
        self._policy = policy
        self._turns = turns or Turns()
        # Customers' checks one after the other: many of them leave room for all else.
        self._judging = asyncio.Lock()
        self._one = asyncio.Lock()

    def names(self) -> list[str]:
        """The customers in force."""
        return sorted(customer.name for customer in self._config.in_force.config.customers)

    async def read(self, name: str) -> Found:
        """The customer as its file has it now; as it is in force, when the main file holds it.

        Raises:
            NoCustomerError: there is none.
            BrokenError: its file cannot be shown.
        """
        file = await self._find(name)
        if file is not None:
            document = await asyncio.to_thread(shown, file)
            return Found(document, file.etag, file.path.name)
        return Found(customer_document(self._in_force(name)), None, None)

    async def _find(self, name: str) -> CustomerFile | None:
        return await asyncio.to_thread(self._files.find, name)

    def _in_force(self, name: str) -> Customer:
        for customer in self._config.in_force.config.customers:
            if customer.name == name:
                return customer
        raise NoCustomerError(f"customer {name}: there is none")

    async def check(self, who: Principal, name: str, document: Document) -> list[str]:
        """What is wrong with a customer's document, were it put now; nothing is written.

        Raises:
            NoCustomerError: no customer can have that name.
            TooOftenError: this customer has a check or change under way.
        """
        if not is_name(name):
            raise NoCustomerError(f"customer {name!r}: there is none")
        return await _whatever_becomes_of_the_caller(self._check(who, name, document))

    async def _check(self, who: Principal, name: str, document: Document) -> list[str]:
        with self._turns.one(who):
            file = await self._find(name)
            try:
                await self._judge_in_turn(who, name, document, file)
            except RefusedError as error:
                return error.errors
        return []

    async def put(self, who: Principal, name: str, document: Document, etag: str | None) -> Changed:
        """Create or replace a customer and put it in force.

        ``etag`` is that of the version that is replaced; ``None`` for a new customer.

        Raises:
            NoCustomerError, NotEditableError, StaleError, RefusedError, TooOftenError: nothing was
                written.
            UnwritableError, ControlError: the file, or the audit trail, cannot be written.
        """
        return await _whatever_becomes_of_the_caller(self._put(who, name, document, etag))

    async def _put(
        self, who: Principal, name: str, document: Document, etag: str | None
    ) -> Changed:
        with self._turns.one(who):
            self._turns.may_change(who)
            file = await self._find(name)
            self._must_be(name, file, etag)
            if file is None and who.kind is not Kind.OPERATOR:
                raise RefusedError(["only an operator creates customers"], forbidden=True)
            # What cannot come into force holds up no other change. What can is judged again when
            # it is its turn, for which the answer is known unless a file has changed.
            await self._judge_in_turn(who, name, document, file)
            async with self._one:
                return await self._replace(who, name, document, etag)

    async def _replace(
        self, who: Principal, name: str, document: Document, etag: str | None
    ) -> Changed:
        file = await self._find(name)
        self._must_be(name, file, etag)
        if file is None and who.kind is not Kind.OPERATOR:
            raise NoCustomerError(f"customer {name}: there is none")
        text = await self._judge(who, name, document, file)
        path = self._files.place(name) if file is None else file.path
        if file is None and path.exists():
            raise NotEditableError(f"{path.name}: there is such a file, of another customer")
        before = "" if file is None else file.text
        diff = await asyncio.to_thread(unified_diff, before, text, path.name)
        deed = _Deed(who.signature, "create" if file is None else "replace", name, diff)
        self._turns.changed(who)
        written, in_force = await self._carry_out(deed, lambda: self._files.write(path, text))
        put = await asyncio.to_thread(shown, written)
        return Changed(Found(put, written.etag, path.name), file is None, in_force)

    async def delete(self, who: Principal, name: str, etag: str | None) -> None:
        """Remove a customer.

        Raises:
            NoCustomerError, NotEditableError, StaleError, RefusedError: nothing was changed.
            UnwritableError, ControlError: the file cannot be removed, or that not be written down.
        """
        await _whatever_becomes_of_the_caller(self._delete(who, name, etag))

    async def _delete(self, who: Principal, name: str, etag: str | None) -> None:
        async with self._one:
            file = await self._find(name)
            self._must_be(name, file, etag or "")
            if file is None:
                raise NoCustomerError(f"customer {name}: there is none")
            path = file.path
            files = (await self._config.read_files()).without(str(path))
            checked = await self._config.judge(files)
            if checked.problems:
                raise RefusedError([str(problem) for problem in checked.problems])
            diff = await asyncio.to_thread(unified_diff, file.text, "", path.name)
            deed = _Deed(who.signature, "delete", name, diff)
            await self._carry_out(deed, lambda: self._files.remove(path))

    async def _carry_out(self, deed: "_Deed", change: Callable[[], T]) -> tuple[T, bool]:
        """Write a change down, make it, and put it in force; whether it is."""
        # The entry comes first: better one of a change that was not made than none of one that was.
        await self._audit.record(deed.who, f"customer.{deed.verb}", deed.name, deed.diff)
        try:
            made = await asyncio.to_thread(change)
        except OSError as error:
            await self._audit.record(deed.who, f"customer.{deed.verb}.failed", deed.name)
            reason = error.strerror or type(error).__name__
            raise UnwritableError(f"customer {deed.name}: cannot {deed.verb}: {reason}") from error
        return made, await self._config.reload()

    def _must_be(self, name: str, file: CustomerFile | None, etag: str | None) -> None:
        if not is_name(name):
            raise NoCustomerError(f"customer {name!r}: there is none")
        if file is None:
            if name in self.names():
                raise NotEditableError(f"customer {name} is in the main file, which has no API")
            if etag is not None:
                raise NoCustomerError(f"customer {name}: there is none")
        elif etag is None:
            raise StaleError(f"customer {name} exists")
        elif etag not in (file.etag, "*"):
            raise StaleError(f"customer {name} has changed: it is now {file.etag}")

    async def _judge_in_turn(
        self, who: Principal, name: str, document: Document, file: CustomerFile | None
    ) -> None:
        if who.kind is Kind.OPERATOR:
            await self._judge(who, name, document, file)
            return
        async with self._judging:
            await self._judge(who, name, document, file)

    async def _judge(
        self, who: Principal, name: str, document: Document, file: CustomerFile | None
    ) -> str:
        """The text of the file that ``document`` makes.

        Raises:
            RefusedError: it must not come into force.
        """
        if document.get("name", name) != name:
            raise RefusedError([f"name: found {document['name']!r}, allowed is {name}"])
        whole = {"name": name, **document}
        if who.kind is not Kind.OPERATOR:
            whole = _with_quota(whole, await self._quota(name, file))
        text = await asyncio.to_thread(_text, whole)
        if len(text) > MAX_TEXT:
            raise RefusedError([f"found {len(text)} characters, allowed is at most {MAX_TEXT}"])
        mine = str(self._files.place(name) if file is None else file.path)
        files = await self._config.read_files()
        changed = files.with_customer(Source(mine, text, "customer"))
        checked = await self._config.judge(changed)
        if checked.config is None:
            others = [source.name for source in files.sources if source.name != mine]
            raise RefusedError(_lines(who, checked.problems, mine, others))
        if who.kind is not Kind.OPERATOR:
            new = next(one for one in checked.config.customers if one.name == name)
            refused = list(refused_hosts(new, self._policy))
            if refused:
                raise RefusedError(refused, forbidden=True)
        return text

    async def _quota(self, name: str, file: CustomerFile | None) -> object:
        """The quota that an operator gave: as the file has it; when it is broken, as in force.

        Raises:
            RefusedError: nobody can tell.
        """
        if file is None:
            return None
        try:
            return (await asyncio.to_thread(shown, file)).get("quota")
        except BrokenError:
            pass
        try:
            return customer_document(self._in_force(name)).get("quota")
        except NoCustomerError:
            error = "the file is broken and nothing of it in force: an operator has to replace it"
            raise RefusedError([error], forbidden=True) from None


@dataclass(frozen=True, slots=True)
class _Deed:
    who: str
    verb: str
    name: str
    diff: str


async def _whatever_becomes_of_the_caller(work: Coroutine[Any, Any, T]) -> T:
    """Whoever hangs up leaves no half of a change, and no check in a thread while the next one
    begins: what was begun is done to its end."""
    return await asyncio.shield(asyncio.create_task(work))


def _lines(who: Principal, problems: list[Problem], mine: str, others: Sequence[str]) -> list[str]:
    """The problems as whoever asks may see them; others' files are the operator's to read."""
    if who.kind is Kind.OPERATOR:
        return [str(problem) for problem in problems]
    own = [problem for problem in problems if problem.file == mine]
    lines = [_line(problem, others) for problem in own]
    hidden = len(problems) - len(own)
    if hidden:
        lines.append(
            f"it does not fit with the rest of the configuration: {hidden} "
            f"{'problem' if hidden == 1 else 'problems'} that only an operator may see"
        )
    return lines


def _line(problem: Problem, others: Sequence[str]) -> str:
    """The problem without the name of another's file, nor what is in there."""
    where = f"{problem.path}: " if problem.path else ""
    if any(name in problem.found for name in others):
        return f"{where}this cannot be used here; an operator can see why"
    return f"{where}found {problem.found}, allowed is {problem.allowed}"


def _with_quota(document: Document, given: object) -> Document:
    """The document with the quota that is in force: only an operator sets it.

    Raises:
        RefusedError: the document wants another one.
    """
    if "quota" in document and document["quota"] != given:
        found, allowed = document["quota"], "what an operator set"
        raise RefusedError([f"quota: found {found}, allowed is {allowed}: {given}"], forbidden=True)
    if given is None:
        return {key: value for key, value in document.items() if key != "quota"}
    return {**document, "quota": given}


def _text(document: Document) -> str:
    try:
        return to_yaml(document)
    except RecursionError:
        raise RefusedError(["found deep nesting, allowed is what a customer's file has"]) from None
