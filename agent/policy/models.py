"""The words of the agent's policy file; ``docs/secrets.md`` explains each.

The policy lies with the agent and is the operator's. What the configuration asks for, a customer's
or a collector's, is carried out only as far as the policy allows.
"""

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Literal

from pydantic import BeforeValidator

from probes.contract.config.fields import FilePath, Model, SecretName, Version
from probes.contract.config.networks import IpNetwork, network

_ENDPOINT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253})):([1-9][0-9]{0,4})")
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def endpoint(host: str, port: int) -> str:
    """``host:port`` in the one form in which the policy compares it: lower case, the shortest form
    of an IPv6 address, in brackets."""
    try:
        return f"[{IPv6Address(host)}]:{port}"
    except ValueError:
        return f"{host.lower()}:{port}"


def _endpoint(value: object) -> object:
    # An error of one field, in words, and only one.
    found = _ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    if found is not None and int(found[3]) <= 65535:
        try:
            return endpoint(str(IPv6Address(found[1])) if found[1] else found[2], int(found[3]))
        except ValueError:
            pass
    raise ValueError("host:port, such as imap.acme.example:993 or [2001:db8::1]:25")


def _key_id(value: object) -> object:
    if isinstance(value, str) and _KEY_ID.fullmatch(value):
        return value
    raise ValueError("text of 1 to 64 letters, digits, dots, dashes, underscores")


def _some(value: object) -> object:
    # min_length would count the sound items only, and complain of a list that is not empty.
    if value in ([], ()):
        raise ValueError("at least one endpoint")
    return value


def _some_words(value: object) -> object:
    if value in ([], ()):
        raise ValueError("a program and its arguments, such as [/usr/sbin/postqueue, -j]")
    return value


def _yes_or_no(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


Endpoint = Annotated[str, BeforeValidator(_endpoint)]
"""``host:port`` with the host as the configuration names it; an IPv6 address in brackets. Kept in
the form of :func:`endpoint`."""

Network = Annotated[
    IpNetwork, network("a network without host bits, such as 10.1.0.0/16 or 2001:db8::/32")
]
YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]
KeyId = Annotated[str, BeforeValidator(_key_id)]


class Sources(Model):
    """Where secrets are read from, in this order; the first that has one wins.

    ``directory`` holds a file per secret, ``customer/name`` in a folder per customer. With
    ``credentials`` systemd's ``$CREDENTIALS_DIRECTORY`` is read, with ``environment`` variables
    named ``MAILCANARY_SECRET_…``.
    """

    directory: FilePath | None = None
    credentials: YesOrNo = True
    environment: YesOrNo = False


class SecretRule(Model):
    """One secret, and the endpoints that it may be sent to.

    ``unverified`` lets it be sent without verified TLS: for a relay on the same host, say.
    """

    secret: SecretName
    to: Annotated[tuple[Endpoint, ...], BeforeValidator(_some)]
    unverified: YesOrNo = False


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
    business to point the agent at: loopback, private and link-local networks, the clouds' metadata
    services, multicast, and addresses that tunnel to what cannot be seen from them. Public
    addresses of the agent's own host and of its neighbours are not among them: which those are only
    the operator knows, who adds them to ``deny``.
    """

    deny: tuple[Network, ...] = (
        IPv4Network("0.0.0.0/8"),
        IPv4Network("10.0.0.0/8"),
        IPv4Network("100.64.0.0/10"),
        IPv4Network("127.0.0.0/8"),
        # Azure's wire server: a public address that only the virtual machine's own host answers.
        IPv4Network("168.63.129.16/32"),
        IPv4Network("169.254.0.0/16"),
        IPv4Network("172.16.0.0/12"),
        IPv4Network("192.0.0.0/24"),
        IPv4Network("192.168.0.0/16"),
        IPv4Network("198.18.0.0/15"),
        IPv4Network("224.0.0.0/3"),
        # ::, ::1, and the IPv4-compatible form that RFC 4291 deprecates.
        IPv6Network("::/96"),
        # NAT64 within one network (RFC 8215): where the IPv4 address lies in it nobody can tell.
        IPv6Network("64:ff9b:1::/48"),
        # Teredo (RFC 4380).
        IPv6Network("2001::/32"),
        IPv6Network("fc00::/7"),
        IPv6Network("fe80::/10"),
        IPv6Network("fec0::/10"),
        IPv6Network("ff00::/8"),
    )
    allow: tuple[Network, ...] = ()


class QueueListing(Model):
    """The program that lists the mail server's queue, and the form of what it prints.

    It is run as it stands here, by no shell. That it stands here is why no configuration, and so no
    collector, can have the agent run anything.
    """

    form: Literal["postfix", "exim"]
    command: Annotated[tuple[FilePath, ...], BeforeValidator(_some_words)]


class PolicyFile(Model):
    """The whole policy file. An agent that sends no canaries needs no ``keys``."""

    version: Version
    keys: Keys | None = None
    sources: Sources = Sources()
    secrets: tuple[SecretRule, ...] = ()
    addresses: Addresses = Addresses()
    ca_file: FilePath | None = None
    queue: QueueListing | None = None
