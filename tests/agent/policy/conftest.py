"""Policies and secrets' files to try things with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.policy.load import parse_policy
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets

WriteSecret = Callable[..., Path]
MakePolicy = Callable[[str], PolicyFile]
MakeVault = Callable[..., Secrets]


@pytest.fixture
def secret(tmp_path: Path) -> WriteSecret:
    """Writes a secret's file into the directory that the policies of :func:`policy` name."""

    def write(name: str, value: bytes = b"hunter2-hunter2\n", mode: int = 0o600) -> Path:
        file = tmp_path / "secrets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(value)
        file.chmod(mode)
        return file

    return write


@pytest.fixture
def policy(tmp_path: Path) -> MakePolicy:
    """A policy with one key, a directory of secrets, and the lines given besides."""

    def make(more: str = "") -> PolicyFile:
        text = f"version: 1\nkeys: {{current: {{id: k1, secret: key}}}}\n{more}"
        if "sources:" not in more:
            text += f"\nsources: {{directory: {tmp_path}/secrets}}\n"
        return parse_policy("policy.yaml", text)

    return make


@pytest.fixture
def vault(policy: MakePolicy) -> MakeVault:
    """Secrets under such a policy."""

    def make(more: str = "", **environment: str) -> Secrets:
        return Secrets(policy(more), environment)

    return make
