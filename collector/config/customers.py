"""Customers managed over HTTP: the file in ``customers.d`` stays the one source of truth."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from collector.config.customer_files import CustomerFile, CustomerFiles, to_yaml
from collector.config.hosts import HostPolicy, refused_hosts
from collector.config.service import ConfigService
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
    """Reads and changes customers. One change at a time; used from one event loop."""

    def __init__(
        self, config: ConfigService, files: CustomerFiles, audit: Audit, policy: HostPolicy
    ) -> None:
        self._config = config
        self._files = files
        self._audit = audit
        self._policy = policy
        self._one = asyncio.Lock()

    def names(self) -> list[str]:
        """The customers in force."""
        return sorted(customer.name for customer in self._config.in_force.config.customers)

    async def read(self, name: str) -> Found:
        """The customer as its file has it now; as it is in force, when the main file holds it.

        Raises:
            NoCustomerError: there is none.
            RefusedError: its file is broken.
        """
        async with self._one:
            file = await asyncio.to_thread(self._files.find, name)
        if file is not None:
            return Found(_parse(file), file.etag, file.path.name)
        return Found(customer_document(self._in_force(name)), None, None)

    def _in_force(self, name: str) -> Customer:
        for customer in self._config.in_force.config.customers:
            if customer.name == name:
                return customer
        raise NoCustomerError(f"customer {name}: there is none")

    async def check(self, who: Principal, name: str, document: Document) -> list[str]:
        """What is wrong with a customer's document, were it put now; nothing is written.

        Raises:
            NoCustomerError: no customer can have that name.
        """
        if not is_name(name):
            raise NoCustomerError(f"customer {name!r}: there is none")
        async with self._one:
            file = await asyncio.to_thread(self._files.find, name)
            try:
                await self._judge(who, name, document, file)
            except RefusedError as error:
                return error.errors
        return []

    async def put(self, who: Principal, name: str, document: Document, etag: str | None) -> Changed:
        """Create or replace a customer and put it in force.

        ``etag`` is that of the version that is replaced; ``None`` for a new customer.

        Raises:
            NoCustomerError, NotEditableError, StaleError, RefusedError: nothing was written.
            UnwritableError, ControlError: the file, or the audit trail, cannot be written.
        """
        return await _whatever_becomes_of_the_caller(self._put(who, name, document, etag))

    async def _put(
        self, who: Principal, name: str, document: Document, etag: str | None
    ) -> Changed:
        async with self._one:
            file = await asyncio.to_thread(self._files.find, name)
            self._must_be(name, file, etag)
            if file is None and who.kind is not Kind.OPERATOR:
                raise RefusedError(["only an operator creates customers"], forbidden=True)
            text = await self._judge(who, name, document, file)
            path = self._files.place(name) if file is None else file.path
            if file is None and path.exists():
                raise NotEditableError(f"{path.name}: there is such a file, of another customer")
            diff = unified_diff("" if file is None else file.text, text, path.name)
            verb = "create" if file is None else "replace"
            deed = _Deed(who.signature, verb, name, diff)
            written, in_force = await self._carry_out(deed, lambda: self._files.write(path, text))
            return Changed(Found(_parse(written), written.etag, path.name), file is None, in_force)

    async def delete(self, who: Principal, name: str, etag: str | None) -> None:
        """Remove a customer.

        Raises:
            NoCustomerError, NotEditableError, StaleError, RefusedError: nothing was changed.
            UnwritableError, ControlError: the file cannot be removed, or that not be written down.
        """
        await _whatever_becomes_of_the_caller(self._delete(who, name, etag))

    async def _delete(self, who: Principal, name: str, etag: str | None) -> None:
        async with self._one:
            file = await asyncio.to_thread(self._files.find, name)
            self._must_be(name, file, etag or "")
            if file is None:
                raise NoCustomerError(f"customer {name}: there is none")
            path = file.path
            files = (await self._config.read_files()).without(str(path))
            checked = await self._config.judge(files)
            if checked.problems:
                raise RefusedError([str(problem) for problem in checked.problems])
            deed = _Deed(who.signature, "delete", name, unified_diff(file.text, "", path.name))
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
            whole = _with_quota(whole, None if file is None else _parse(file))
        text = to_yaml(whole)
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


@dataclass(frozen=True, slots=True)
class _Deed:
    who: str
    verb: str
    name: str
    diff: str


async def _whatever_becomes_of_the_caller(change: Coroutine[Any, Any, T]) -> T:
    """Half a change must not be left by whoever hangs up: it is made to its end."""
    return await asyncio.shield(asyncio.create_task(change))


def _lines(who: Principal, problems: list[Problem], mine: str, others: Sequence[str]) -> list[str]:
    """The problems as whoever asks may see them; others' files are the operator's to read."""
    if who.kind is Kind.OPERATOR:
        return [str(problem) for problem in problems]
    own = [problem for problem in problems if problem.file == mine]
    lines = [f"{p.path}: found {p.found}, allowed is {p.allowed}" for p in own]
    hidden = len(problems) - len(own)
    if hidden:
        lines.append(
            f"it does not fit with the rest of the configuration: {hidden} "
            f"{'problem' if hidden == 1 else 'problems'} that only an operator may see"
        )
    return [_without_names(line, others) for line in lines]


def _without_names(line: str, files: Sequence[str]) -> str:
    """The line without the names of others' files, which are named after customers."""
    for name in files:
        if name in line:
            line = re.sub(re.escape(name) + r"(:\d+)?", "another's file", line)
    return line


def _with_quota(document: Document, present: Document | None) -> Document:
    """The document with the quota that is in force: only an operator sets it.

    Raises:
        RefusedError: the document wants another one.
    """
    given = (present or {}).get("quota")
    if "quota" in document and document["quota"] != given:
        found, allowed = document["quota"], "what an operator set"
        raise RefusedError([f"quota: found {found}, allowed is {allowed}: {given}"], forbidden=True)
    if given is None:
        return {key: value for key, value in document.items() if key != "quota"}
    return {**document, "quota": given}


def _parse(file: CustomerFile) -> Document:
    try:
        document = yaml.load(file.text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise RefusedError([f"{file.path.name}: the file is broken: {error}"]) from None
    if not isinstance(document, dict):
        raise RefusedError([f"{file.path.name}: the file is broken: it holds no mapping"])
    return document
