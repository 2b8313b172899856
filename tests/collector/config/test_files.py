"""The configuration's files: judged once, and watched so that no change escapes."""

import os
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.config.files import Files, Judge, glance, signature
from probes.contract.config.loader import config_revision
from probes.contract.config.source import Source
from tests.collector.config.services import (
    AGENTS,
    RELAYS,
    customer,
    read_files,
    site_files,
    write_yaml,
)


def _source(name: str, document: dict[str, Any]) -> Source:
    return Source(f"customers.d/{name}.yaml", yaml.safe_dump(document), "customer")


def _files(*names: str) -> Files:
    inside = [customer("inside")]
    document = {"version": 1, "relays": RELAYS, "agents": AGENTS, "customers": inside}
    main = Source("mailcanary.yaml", yaml.safe_dump(document))
    return Files([main, *(_source(name, customer(name)) for name in names)])


def test_the_same_files_are_judged_once() -> None:
    judge = Judge()
    first = judge.check(_files("acme", "globex"))
    assert first.config is not None
    assert judge.check(_files("acme", "globex")) is first
    bad = _files("acme").with_customer(_source("acme", customer("acme", tiger=1)))
    problems = judge.check(bad).problems
    assert problems
    assert judge.check(bad).problems is problems


def test_what_is_in_force_is_not_judged_again_while_a_change_is_written() -> None:
    judge = Judge()
    old, new = _files("acme"), _files("acme", "globex")
    first, second = judge.check(old), judge.check(new)
    for _ in range(2):
        assert judge.check(old) is first
        assert judge.check(new) is second


def test_a_mode_and_a_content_whose_time_was_set_back_are_changes(tmp_path: Path) -> None:
    main = site_files(tmp_path)
    for file in (main, main.parent / "customers.d" / "acme.yaml"):
        before = file.stat()
        seen = signature(main)
        # The file system's clock ticks every few milliseconds.
        while file.stat().st_ctime_ns == before.st_ctime_ns:
            file.chmod(0o600)
        assert signature(main) != seen
        before = file.stat()
        seen = signature(main)
        while file.stat().st_ctime_ns == before.st_ctime_ns:
            file.write_bytes(file.read_bytes().swapcase())
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert signature(main) != seen


@pytest.mark.parametrize("name", ["acme", "zorg"])
@pytest.mark.parametrize("known", [0, 1, 4])
def test_files_in_another_order_are_what_they_would_be_by_themselves(name: str, known: int) -> None:
    files, judge = _files(*["acme", "globex", "initech", "umbrella"][:known]), Judge()
    changed = files.with_customer(_source(name, customer(name, labels={"tier": "gold"})))
    checked = judge.check(changed)
    for sources in permutations(changed.sources):
        read = changed._replace(sources=list(sources))
        again, alone = judge.check(read), read.check()
        assert again == alone
        assert again.config is not None
        assert alone.config is not None
        assert config_revision(again.config) == config_revision(alone.config)
        # They are the ones of the first check, not others like them.
        assert checked.config is not None
        first = {one.name: one for one in checked.config.customers}
        assert all(one is first[one.name] for one in again.config.customers)


def test_what_is_judged_with_other_files_is_judged_anew() -> None:
    judge = Judge()
    first = judge.check(_files("acme", "globex"))
    others = [
        _files("acme"),
        _files("acme", "globex", "initech"),
        _files("acme", "globex").with_customer(_source("acme", customer("acme", tiger=1))),
        _files("acme", "globex")._replace(sources=_files("acme", "globex").sources[1:]),
    ]
    for files in others:
        assert Judge().check(files) == judge.check(files) != first
        judge.check(_files("acme", "globex"))


def test_one_file_after_the_other_is_judged_as_all_of_them_are() -> None:
    judge, files = Judge(), _files("acme", "globex", "initech")
    edits = [
        customer("acme", labels={"tier": "gold"}),
        customer("globex", tiger=1),
        customer("globex", mailboxes=customer("acme")["mailboxes"]),
        customer("globex"),
        customer("acme", canaries=[{"interval": "1m"}, {"interval": "1m"}]),
        customer("acme"),
    ]
    for edit in edits:
        files = files.with_customer(_source(edit["name"], edit))
        checked = judge.check(files)
        assert checked == files.check()
        for _ in range(2):
            broken = files.with_customer(Source("customers.d/bad.yaml", "name: [", "customer"))
            assert judge.check(broken) == broken.check()


def test_both_looks_move_with_what_they_are_for(tmp_path: Path) -> None:
    main = site_files(tmp_path)
    directory = main.parent / "customers.d"
    near, far = {glance(main)}, {signature(main)}

    def noticed(*, at_a_glance: bool) -> None:
        assert (glance(main) not in near) == at_a_glance
        assert signature(main) not in far
        near.add(glance(main))
        far.add(signature(main))

    write_yaml(directory / "third.yaml", customer("third"))
    noticed(at_a_glance=True)
    new = directory / ".third.yaml.new"
    new.write_text((directory / "third.yaml").read_text())
    new.replace(directory / "third.yaml")
    noticed(at_a_glance=True)
    with (directory / "third.yaml").open("a") as file:
        file.write("# in place\n")
    noticed(at_a_glance=False)
    (directory / "third.yaml").rename(directory / "3.yaml")
    noticed(at_a_glance=True)
    (directory / "3.yaml").unlink()
    noticed(at_a_glance=True)
    main.unlink()
    noticed(at_a_glance=True)
    assert read_files(main).check().problems
