"""Reading the policy file: every problem at once, each with its line."""

from pathlib import Path

import pytest

from agent.policy.load import find_policy, parse_policy, read_policy
from agent.policy.models import PolicyFile, endpoint
from agent.policy.template import POLICY_TEMPLATE, generate_key
from agent.settings_files import load_config
from probes.contract.errors import ConfigError
from probes.contract.secret import Secret
from probes.contract.token import Key

BAD = Path(__file__).parent / "bad"
EXAMPLE = Path(__file__).parents[3] / "examples" / "policy.yaml"
GOOD = "version: 1\nkeys: {current: {id: k1, secret: key}}\n"


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_policy("p.yaml", text)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("case", sorted(BAD.glob("*.yaml")), ids=lambda case: case.stem)
def test_every_problem_is_named_with_its_line(case: Path) -> None:
    """``bad/NAME.yaml`` gives exactly the messages in ``bad/NAME.txt``."""
    with pytest.raises(ConfigError) as caught:
        parse_policy(case.name, case.read_text())
    assert str(caught.value) + "\n" == case.with_suffix(".txt").read_text()


def test_names_stay_apart_where_one_source_alone_would_mix_them_up() -> None:
    text = (BAD / "confusable.yaml").read_text().replace("environment: true", "credentials: false")
    assert len(parse_policy("p.yaml", text).secrets) == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "p.yaml:"),
        ("[]", "p.yaml:1: found a list, allowed is a mapping"),
        ("keys: {current: {id: k1, secret: k}}\n", "p.yaml:1: found no version, allowed is"),
        (GOOD + "queue: {form: sendmail, command: [mailq]}\n", "p.yaml:3: queue.form: found"),
        (GOOD + "queue: {form: exim, command: []}\n", "p.yaml:3: queue.command: found"),
        (GOOD + "queue: {form: exim, command: mailq -x}\n", "p.yaml:3: queue.command: found"),
        (GOOD + "queue: {form: exim}\n", "p.yaml:3: queue: found no command, allowed is"),
        (GOOD.replace("1", "2", 1), "p.yaml:1: version: found the number 2, allowed is 1"),
        (GOOD.replace("1", "true", 1), "p.yaml:1: version: found true, allowed is 1"),
        (GOOD + "secrets: {a: b}\n", "p.yaml:3: secrets: found a mapping, allowed is a list"),
        (GOOD + "secrets: [a]\n", "p.yaml:3: secrets[0]: found 'a', allowed is a mapping"),
        (GOOD + "keys: {}\n", "p.yaml:3: keys: found the key 'keys' a second time"),
        ("version: [1", "p.yaml:2: found bad YAML"),
    ],
)
def test_broken_files(text: str, found: str) -> None:
    assert any(line.startswith(found) for line in _problems(text)), _problems(text)


@pytest.mark.parametrize("where", ["secrets: [{secret: %s, to: [a:1]}]", "ca_file: {%s: 1}"])
def test_a_password_in_the_wrong_place_is_not_repeated(where: str) -> None:
    if "ca_file" in where:
        assert "Hunter2!" not in "\n".join(_problems(GOOD + where % "password: Hunter2!, x"))
    else:
        assert "Hunter2!" not in "\n".join(_problems(GOOD + where % "Hunter2!"))


def test_the_template_is_a_sound_policy_that_allows_nothing() -> None:
    policy = parse_policy("template", POLICY_TEMPLATE)
    assert policy.secrets == ()
    assert policy.keys is not None
    assert policy.keys.current.secret == "signing-key"
    assert policy.addresses == PolicyFile.model_validate(policy.model_dump()).addresses


def test_the_template_with_its_comments_taken_off_is_sound_too() -> None:
    lines = [line for line in POLICY_TEMPLATE.splitlines() if not _is_default(line)]
    text = "\n".join(line.replace("# ", "", 1) if _is_code(line) else line for line in lines)
    policy = parse_policy("template", text)
    assert len(policy.secrets) == 2
    assert policy.keys is not None
    assert policy.keys.previous[0].id == "k0"
    assert policy.addresses.allow
    assert policy.ca_file == "ca.pem"


def _is_default(line: str) -> bool:
    return line in ("secrets: []", "addresses: {}")


def _is_code(line: str) -> bool:
    text = line.strip().removeprefix("# ")
    return line.strip() != text and (
        text.startswith(("-", "  - ")) or (text.split(":")[0] in _WORDS and not text.endswith("."))
    )


_WORDS = {"previous", "secrets", "addresses", "  allow", "ca_file"}


def test_the_example_lets_every_secret_of_the_example_fleet_go_where_it_must() -> None:
    policy = read_policy(EXAMPLE)
    config = load_config(EXAMPLE.parent / "fleet" / "mailcanary.yaml")
    wanted = {
        (relay.auth.secret, endpoint(relay.host, relay.port))
        for relay in config.relays
        if relay.auth is not None
    }
    for customer in config.customers:
        for box in customer.mailboxes:
            wanted.add((box.imap.secret, endpoint(box.imap.host, box.imap.port)))
    allowed = {(rule.secret, to) for rule in policy.secrets for to in rule.to}
    assert wanted <= allowed


def test_keys_are_long_and_never_the_same() -> None:
    keys = {generate_key() for _ in range(10)}
    assert len(keys) == 10
    for key in keys:
        assert Key("k1", Secret(key)).secret.reveal().isascii()
        assert len(key) >= 43
        assert "\n" not in key


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(GOOD + "sources: {directory: secrets}\nca_file: ca.pem\n")
    policy = read_policy(file)
    assert policy.sources.directory == str(tmp_path / "secrets")
    assert policy.ca_file == str(tmp_path / "ca.pem")
    file.write_text(GOOD + "sources: {directory: /etc/s}\nca_file: /etc/ca.pem\n")
    policy = read_policy(file)
    assert (policy.sources.directory, policy.ca_file) == ("/etc/s", "/etc/ca.pem")


def test_a_file_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(GOOD)
    file.chmod(0o646)
    with pytest.raises(ConfigError, match=r"found mode 0646, with which everybody can write it"):
        read_policy(file)
    file.chmod(0o664)
    assert read_policy(file).version == 1


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found no such file or directory"):
        read_policy(tmp_path / "policy.yaml")
    with pytest.raises(ConfigError, match="found a directory"):
        read_policy(tmp_path)
    file = tmp_path / "policy.yaml"
    file.write_bytes(b"version: 1\n# \xff\n")
    with pytest.raises(ConfigError, match=r"policy\.yaml:2: found the byte 0xff"):
        read_policy(file)


def test_the_policy_beside_the_configuration_is_the_default(tmp_path: Path) -> None:
    config = tmp_path / "mailcanary.yaml"
    with pytest.raises(ConfigError, match=r"policy\.yaml: found no policy file.*mailcanary init"):
        find_policy(config)
    (tmp_path / "policy.yaml").write_text(GOOD)
    assert find_policy(config) == parse_policy("p", GOOD)
    other = tmp_path / "other.yaml"
    other.write_text(GOOD.replace("k1", "k2"))
    assert find_policy(config, other) == parse_policy("p", other.read_text())


def test_an_agent_that_only_looks_needs_no_keys() -> None:
    text = "version: 1\nqueue: {form: postfix, command: [/usr/sbin/postqueue, -c, /etc/p, -j]}\n"
    policy = parse_policy("p.yaml", text)
    assert policy.keys is None
    assert policy.queue is not None
    assert policy.queue.command == ("/usr/sbin/postqueue", "-c", "/etc/p", "-j")
