"""Customers changed over the API: their file, its version, who may change what, the audit trail."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from collector.config.customer_files import CustomerFiles
from collector.config.customers import (
    MAX_TEXT,
    Changed,
    Customers,
    NoCustomerError,
    NotEditableError,
    RefusedError,
    StaleError,
    UnwritableError,
)
from collector.config.hosts import HostPolicy
from collector.config.shown import BrokenError
from collector.control.audit import Audit
from collector.control.principal import Kind, Principal
from collector.control.store import ControlStore
from tests.collector.config.services import Site, customer, main_document, site, write_yaml

ANN = Principal(Kind.OPERATOR, "ann", "t1")
ACME = Principal(Kind.CUSTOMER, "acme", "t2")


async def test_a_new_customer_is_a_file_and_in_force(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        changed = await found.customers.put(ANN, "new", customer("new"), None)
        assert changed.created
        assert changed.in_force
        made = changed.found
        text = (found.directory / "new.yaml").read_text()
        assert yaml.safe_load(text) == customer("new") == made.document
        assert "new" in [one.name for one in found.config.in_force.config.customers]
        assert (await found.customers.read("new")).etag == made.etag
        [entry] = await found.audit.entries()
        assert (entry.who, entry.verb, entry.target) == (ANN.signature, "customer.create", "new")
        assert "+name: new" in entry.diff
        assert [file.name for file in found.directory.iterdir() if file.name[0] == "."] == []


async def test_a_customer_changes_itself(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        before = await found.customers.read("acme")
        document = {**before.document, "objective": {"delivered": "99.9%", "within": "30s"}}
        changed = await found.customers.put(ACME, "acme", document, before.etag)
        assert not changed.created
        after = changed.found
        assert after.etag != before.etag
        acme = found.config.in_force.config.customers[0]
        assert (acme.name, acme.objective.delivered) == ("acme", 0.999)
        [entry] = await found.audit.entries()
        assert "+  delivered: 99.9%" in entry.diff


async def test_an_old_version_replaces_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        before = await found.customers.read("acme")
        # As an operator's editor would.
        write_yaml(found.directory / "acme.yaml", customer("acme", labels={"tier": "gold"}))
        with pytest.raises(StaleError, match="has changed"):
            await found.customers.put(ACME, "acme", customer("acme"), before.etag)
        with pytest.raises(StaleError, match="exists"):
            await found.customers.put(ANN, "acme", customer("acme"), None)
        with pytest.raises(StaleError):
            await found.customers.delete(ANN, "acme", before.etag)
        assert "gold" in (found.directory / "acme.yaml").read_text()


async def test_of_two_changes_at_once_one_is_made(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        etag = (await found.customers.read("acme")).etag
        changes = [
            found.customers.put(ANN, "acme", customer("acme", labels={"tier": tier}), etag)
            for tier in ("gold", "silver")
        ]
        results = await asyncio.gather(*changes, return_exceptions=True)
        assert {type(result) for result in results} == {Changed, StaleError}
        assert len(await found.audit.entries()) == 1


async def test_what_cannot_come_into_force_is_not_written(tmp_path: Path) -> None:
    stolen = customer("acme")
    stolen["mailboxes"][0]["imap"]["secret"] = "globex/in"
    inner = customer("acme")
    inner["mailboxes"][0]["imap"]["host"] = "169.254.169.254"
    flood = customer("acme")
    flood["canaries"] = [{"agents": "sfo", "interval": "100ms"}]
    relays = customer("acme", relays=[{"name": "mine", "host": "evil.example"}])
    huge = customer("acme", labels={"tier": "x" * MAX_TEXT})
    cases = {
        "tiger": customer("acme", tiger=1),
        "name: found 'globex'": customer("globex"),
        "quota: found": customer("acme", quota={"paths": 100000}),
        "secret": stolen,
        "a public host name": inner,
        "rest of the configuration|per_minute|interval": flood,
        "relays": relays,
        "characters": huge,
    }
    async with site(tmp_path) as found:
        before = await found.customers.read("acme")
        text = (found.directory / "acme.yaml").read_text()
        for what, document in cases.items():
            with pytest.raises(RefusedError, match=what):
                await found.customers.put(ACME, "acme", document, before.etag)
            assert await found.customers.check(ACME, "acme", document)
        assert (found.directory / "acme.yaml").read_text() == text
        assert await found.audit.entries() == []
        assert len(await found.told()) == 1


async def test_a_customer_learns_nothing_of_others_from_errors(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        document = customer("acme")
        document["mailboxes"][0]["address"] = "in@globex.example"
        [error] = await found.customers.check(ANN, "acme", document)
        assert "globex" in error
        errors = await found.customers.check(ACME, "acme", document)
        assert errors
        assert errors == ["mailboxes[0].address: this cannot be used here; an operator can see why"]
        write_yaml(found.directory / "globex.yaml", customer("globex", tiger=1))
        [line] = await found.customers.check(ACME, "acme", customer("acme"))
        assert line.endswith("1 problem that only an operator may see")


async def test_the_quota_that_an_operator_set_stays(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        etag = (await found.customers.read("acme")).etag
        document = customer("acme", quota={"paths": 7})
        given = (await found.customers.put(ANN, "acme", document, etag)).found
        bare = customer("acme")
        without = (await found.customers.put(ACME, "acme", bare, given.etag)).found
        assert without.document["quota"] == {"paths": 7}
        same = (await found.customers.put(ACME, "acme", document, without.etag)).found
        with pytest.raises(RefusedError, match="quota") as caught:
            await found.customers.put(ACME, "acme", customer("acme", quota={}), same.etag)
        assert caught.value.forbidden


async def test_only_an_operator_creates(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        me = Principal(Kind.CUSTOMER, "new", "t3")
        with pytest.raises(RefusedError) as caught:
            await found.customers.put(me, "new", customer("new"), None)
        assert caught.value.forbidden


async def test_a_customer_in_the_main_file_is_read_and_not_changed(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        write_yaml(found.main, main_document(customers=[customer("inline")]))
        assert await found.config.reload()
        read = await found.customers.read("inline")
        assert read.file is None
        assert read.document["canaries"] == [{"agents": "sfo", "interval": "1m"}]
        with pytest.raises(NotEditableError):
            await found.customers.put(ANN, "inline", customer("inline"), "*")
        with pytest.raises(NotEditableError):
            await found.customers.delete(ANN, "inline", "*")


async def test_a_removed_customer_is_gone(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        etag = (await found.customers.read("acme")).etag
        await found.customers.delete(ANN, "acme", etag)
        assert found.customers.names() == ["globex"]
        assert not (found.directory / "acme.yaml").exists()
        with pytest.raises(NoCustomerError):
            await found.customers.read("acme")
        [entry] = await found.audit.entries()
        assert entry.verb == "customer.delete"


@pytest.mark.parametrize("name", ["nobody", "../etc", "Acme", ""])
async def test_there_is_no_customer_of_that_name(tmp_path: Path, name: str) -> None:
    async with site(tmp_path) as found:
        with pytest.raises(NoCustomerError):
            await found.customers.read(name)
        with pytest.raises(NoCustomerError):
            await found.customers.put(ANN, name, customer("new"), "*")
        with pytest.raises(NoCustomerError):
            await found.customers.delete(ANN, name, "*")


async def test_no_file_outside_of_the_directory_is_looked_at(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        write_yaml(found.main.parent / "etc.yaml", customer("../etc"))
        with pytest.raises(NoCustomerError):
            await found.customers.read("../etc")


async def test_a_broken_file_is_told(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        (found.directory / "acme.yaml").write_text("name: acme\nmailboxes: [")
        with pytest.raises(BrokenError, match=r"acme\.yaml:3: found bad YAML"):
            await found.customers.read("acme")


async def test_a_file_under_another_name_is_found_and_stays_where_it_is(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        (found.directory / "acme.yaml").rename(found.directory / "10-acme.yaml")
        etag = (await found.customers.read("acme")).etag
        document = customer("acme", labels={"tier": "gold"})
        changed = await found.customers.put(ANN, "acme", document, etag)
        assert changed.found.file == "10-acme.yaml"
        assert sorted(file.name for file in found.directory.iterdir()) == [
            "10-acme.yaml",
            "globex.yaml",
        ]


async def test_an_operator_is_not_bound_by_the_host_policy(tmp_path: Path) -> None:
    async with site(tmp_path, HostPolicy(("*.example.org",))) as found:
        etag = (await found.customers.read("acme")).etag
        with pytest.raises(RefusedError, match=r"allowed is \*.example.org"):
            await found.customers.put(ACME, "acme", customer("acme"), etag)
        await found.customers.put(ANN, "acme", customer("acme"), etag)


async def test_who_hangs_up_leaves_no_change_without_its_entry(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        etag = (await found.customers.read("acme")).etag
        document = customer("acme", labels={"tier": "gold"})
        in_force = asyncio.Event()
        found.config.on_change = lambda _config: in_force.set()
        changing = asyncio.create_task(found.customers.put(ANN, "acme", document, etag))
        await asyncio.sleep(0)
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)
        assert changing.cancelled()
        await in_force.wait()
        assert (await found.customers.read("acme")).document == document
        assert _labels(found) == {"tier": "gold"}
        assert "gold" in (found.directory / "acme.yaml").read_text()
        [entry] = await found.audit.entries()
        assert entry.verb == "customer.replace"


def _labels(found: Site) -> dict[str, str]:
    [acme] = [one for one in found.config.in_force.config.customers if one.name == "acme"]
    return acme.labels


async def test_a_file_that_cannot_be_written_changes_nothing_and_the_trail_says_so(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as found:
        etag = (await found.customers.read("acme")).etag
        text = (found.directory / "acme.yaml").read_text()
        # Where the new text would go first, nothing can.
        (found.directory / ".acme.yaml.new").mkdir()
        with pytest.raises(UnwritableError, match="acme: cannot replace: Is a directory"):
            await found.customers.put(ANN, "acme", customer("acme", labels={"a": "b"}), etag)
        assert (found.directory / "acme.yaml").read_text() == text
        verbs = [entry.verb for entry in await found.audit.entries()]
        assert verbs == ["customer.replace.failed", "customer.replace"]


class Spoiling(Audit):
    """Somebody's editor spoils a file between the check of a change and the change."""

    def __init__(self, store: ControlStore, clock_ns: Callable[[], int], file: Path) -> None:
        super().__init__(store, clock_ns)
        self._file = file

    async def record(self, who: str, verb: str, target: str, diff: str = "") -> int:
        """As ever, after that."""
        write_yaml(self._file, customer("globex", tiger=1))
        return await super().record(who, verb, target, diff)


async def test_a_change_beside_a_file_spoilt_meanwhile_says_that_it_waits(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        etag = (await found.customers.read("acme")).etag
        files = CustomerFiles(found.main)
        audit = Spoiling(found.store, found.clock.wall_ns, found.directory / "globex.yaml")
        customers = Customers(found.config, files, audit, HostPolicy())
        changed = await customers.put(ANN, "acme", customer("acme", labels={"a": "b"}), etag)
        assert not changed.in_force
        write_yaml(found.directory / "globex.yaml", customer("globex", "lon"))
        assert await found.config.reload()
        assert _labels(found) == {"a": "b"}
