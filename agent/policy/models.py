"""The words of the agent's policy file; ``docs/secrets.md`` explains each.

The policy lies with the agent and is the operator's. What the configuration asks for, a customer's
or a collector's, is carried out only as far as the policy allows.
"""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from probes.contract.config.models import Model, SecretName

Endpoint = Annotated[
    str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$")
]
"""``host:port``, as the configuration names it; an IPv6 address in brackets."""

Network = IPv4Network | IPv6Network
FilePath = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
KeyId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Sources(Model):
    """Where secrets are read from, in this order; the first that has one wins.

    ``directory`` holds a file per secret, ``customer/name`` in a folder per customer. With
    ``credentials`` systemd's ``$CREDENTIALS_DIRECTORY`` is read, with ``environment`` variables
    named ``MAILCANARY_SECRET_…``.
    """

    directory: FilePath | None = None
    credentials: bool = True
    environment: bool = False


class SecretRule(Model):
    """One secret, and the endpoints that it may be sent to.

    ``unverified`` lets it be sent without verified TLS: for a relay on the same host, say.
    """

    secret: SecretName
    to: Annotated[tuple[Endpoint, ...], Field(min_length=1)]
    unverified: bool = False


class SigningKey(Model):
    """A key that signs canaries: its id, and the name of the secret that holds it."""

    id: KeyId
    secret: SecretName


class Keys(Model):
    """The signing keys: the one in use, and those whose canaries may still be in the air."""

    current: SigningKey
    previous: tuple[SigningKey, ...] = ()


class Addresses(Model):
    """Which addresses the hosts that customers name may have.

    ``allow`` makes exceptions from ``deny``. What is denied by default is what a customer has no
    business to point the agent at: this host, private and link-local networks, the cloud's metadata
    service, multicast.
    """

    deny: tuple[Network, ...] = (
        IPv4Network("0.0.0.0/8"),
        IPv4Network("10.0.0.0/8"),
        IPv4Network("100.64.0.0/10"),
        IPv4Network("127.0.0.0/8"),
        IPv4Network("169.254.0.0/16"),
        IPv4Network("172.16.0.0/12"),
        IPv4Network("192.0.0.0/24"),
        IPv4Network("192.168.0.0/16"),
        IPv4Network("198.18.0.0/15"),
        IPv4Network("224.0.0.0/3"),
        IPv6Network("::/128"),
        IPv6Network("::1/128"),
        IPv6Network("fc00::/7"),
        IPv6Network("fe80::/10"),
        IPv6Network("ff00::/8"),
    )
    allow: tuple[Network, ...] = ()


class PolicyFile(Model):
    """The whole policy file."""

    version: Literal[1]
    keys: Keys
    sources: Sources = Sources()
    secrets: tuple[SecretRule, ...] = ()
    addresses: Addresses = Addresses()
    ca_file: FilePath | None = None
