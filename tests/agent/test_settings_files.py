"""Which files make up a configuration, and what unreadable ones give."""

import os
from pathlib import Path

import pytest

from agent.settings_files import (
    FileSet,
    check_files,
    file_set,
    file_sets,
    load_config,
    read_sources,
)
from probes.contract.errors import ConfigError

CUSTOMER = "name: {name}\n"


def _estate(directory: Path, *customers: str) -> Path:
    (directory / "customers.d").mkdir(parents=True)
    for name in customers:
        (directory / "customers.d" / f"{name}.yaml").write_text(CUSTOMER.format(name=name))
    main = directory / "mailcanary.yaml"
    main.write_text("version: 1\n")
    return main


def test_customers_beside_the_main_file_are_read_in_order(tmp_path: Path) -> None:
    main = _estate(tmp_path, "globex", "acme")
    (tmp_path / "customers.d" / ".#acme.yaml").write_text("an editor's lock")
    (tmp_path / "customers.d" / "README.md").write_text("not a customer")
    assert [customer.name for customer in load_config(main).customers] == ["acme", "globex"]


def test_a_main_file_alone(tmp_path: Path) -> None:
    main = tmp_path / "mailcanary.yaml"
    main.write_text("\ufeffversion: 1\n", encoding="utf-8")
    assert load_config(main).customers == ()


@pytest.mark.parametrize("suffix", [".yml", ".json"])
def test_a_customer_file_with_another_suffix_is_not_passed_over(
    tmp_path: Path, suffix: str
) -> None:
    main = _estate(tmp_path)
    (tmp_path / "customers.d" / f"acme{suffix}").write_text("name: acme\n")
    with pytest.raises(ConfigError, match=rf"found a {suffix} file in customers.d"):
        load_config(main)


def _said(main: Path) -> tuple[list[str], list[str]]:
    checked = check_files(file_set(main))
    assert (checked.config is None) == bool(checked.problems)
    return [str(one) for one in checked.problems], [str(one) for one in checked.warnings]


def test_a_name_that_does_not_count_hides_nothing(tmp_path: Path) -> None:
    main = _estate(tmp_path, "acme")
    customers = tmp_path / "customers.d"
    main.write_text("version: 1\ncolour: red\n")
    (customers / "globex.YML").write_text("name: globex\nsize: 5\n")
    (customers / "gone.yaml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(customers / "pipe.yaml")
    (customers / "acme.yaml").write_text("name: acme\nage: 5\n")
    problems, warnings = _said(main)
    assert [
        problem.removeprefix(f"{tmp_path}/").partition(", allowed")[0] for problem in problems
    ] == [
        "customers.d/acme.yaml:2: age: found the unknown key 'age'",
        "customers.d/globex.YML: found a .YML file in customers.d",
        "customers.d/globex.YML:2: size: found the unknown key 'size'",
        "customers.d/gone.yaml: found no such file or directory",
        "customers.d/pipe.yaml: found no regular file",
        "mailcanary.yaml:2: colour: found the unknown key 'colour'",
    ]
    assert warnings == []


def test_what_editors_leave_behind_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    main = _estate(tmp_path, "acme")
    customers = tmp_path / "customers.d"
    for name in ("acme.yaml~", "#acme.yaml#", "old.yml.bak", ".acme.yaml.swp", "README"):
        (customers / name).write_text("name: [")
    (customers / "team").mkdir()
    problems, warnings = _said(main)
    assert problems == []
    rest = "allowed is without a warning a name in .yaml, or one that begins with a dot"
    assert warnings == [
        f"{customers}/{name}: found a {kind} in customers.d that is not read, {rest}"
        for name, kind in [
            ("#acme.yaml#", "file"),
            ("acme.yaml~", "file"),
            ("old.yml.bak", "file"),
            ("team", "directory"),
        ]
    ]


AGENT = """\
version: 1
colour: red
agents:
  - name: sfo
    sender: {address: c@monitor.example, helo: c, bounces: monitor/bounces}
"""


@pytest.mark.parametrize("link", [False, True])
def test_a_customers_d_that_is_none_is_told_and_nothing_is_missed_in_it(
    tmp_path: Path, link: bool
) -> None:
    main = tmp_path / "mailcanary.yaml"
    main.write_text(AGENT)
    if link:
        (tmp_path / "customers.d").symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / "customers.d").write_text("")
    problems, _ = _said(main)
    assert problems[0] == (
        f"{tmp_path}/customers.d: found no directory, allowed is a directory, or nothing"
    )
    assert len(problems) == 2
    (tmp_path / "customers.d").unlink()
    assert "the unknown mailbox 'monitor/bounces'" in "\n".join(_said(main)[0])


def test_every_unreadable_file_is_named(tmp_path: Path) -> None:
    main = tmp_path / "missing.yaml"
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"name: acme\nlabels: {a: \xff}\n")
    with pytest.raises(ConfigError) as caught:
        read_sources(FileSet(main, (bad, tmp_path)))
    assert str(caught.value) == (
        f"{tmp_path}: found a directory, allowed is a file\n"
        f"{bad}:2: found the byte 0xff, which is no UTF-8, allowed is UTF-8 text\n"
        f"{main}: found no such file or directory, allowed is a readable file"
    )


def test_names_in_messages_are_as_the_user_gave_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _estate(tmp_path, "acme")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "customers.d" / "acme.yaml").write_text("name: acme\ncolour: red\n")
    with pytest.raises(ConfigError, match=r"^customers\.d/acme\.yaml:2: colour: "):
        load_config(Path("mailcanary.yaml"))


def test_a_customer_file_named_beside_its_main_file_counts_once(tmp_path: Path) -> None:
    main = _estate(tmp_path, "acme", "globex")
    customers = sorted((tmp_path / "customers.d").iterdir())
    assert file_sets([customers[0], main]) == [FileSet(main, tuple(customers))]


def test_several_main_files_each_have_their_customers(tmp_path: Path) -> None:
    mains = [_estate(tmp_path / "one", "acme"), _estate(tmp_path / "two", "globex")]
    sets = file_sets(mains)
    assert [[file.stem for file in entry.customers] for entry in sets] == [["acme"], ["globex"]]


def test_customer_files_need_their_main_file(tmp_path: Path) -> None:
    mains = [_estate(tmp_path / "one", "acme"), _estate(tmp_path / "two")]
    stray = tmp_path / "three" / "customers.d" / "stray.yaml"
    stray.parent.mkdir(parents=True)
    stray.write_text("name: stray\n")
    with pytest.raises(ValueError, match="name it"):
        file_sets([stray])
    with pytest.raises(ValueError, match="which of the main "):
        file_sets([*mains, stray])
    joined = file_sets([mains[0], stray])[0]
    assert [file.stem for file in joined.customers] == ["acme", "stray"]
