"""``mailcanary init``: a commented configuration, a policy and a signing key to start from."""

import os
from pathlib import Path
from typing import Annotated

import typer

from agent.policy.template import POLICY_TEMPLATE, generate_key
from probes.contract.config.source import CUSTOMERS

MAIN = """\
# What mailcanary measures. Check every edit with: mailcanary check mailcanary.yaml
# Every key is explained in docs/config.md; `mailcanary schema config` prints the JSON Schema.
version: 1

defaults:
  interval: 30s        # between two canaries through one relay
  deadline: 60s        # a canary that takes longer is late
  loss_after: 30m      # a canary that takes longer is lost, until it turns up
  remember: 6d         # a second copy within this time is a duplicate; Postfix queues for 5 days

timeouts: {connect: 10s, banner: 30s, command: 30s, accept: 60s}

# The relay nodes, each by itself: a name that a load balancer shares would hide the broken one.
relays:
  - name: relay-a1
    host: relay-a1.example.net
    port: 25
    tls: opportunistic   # none | opportunistic | starttls | implicit
    # auth: {user: canary, secret: relay-a1}   # the secret's name; the agent knows its value
    # egress: [203.0.113.11]                   # addresses that its mail leaves from
    # capacity: 1200                           # messages a minute that it can carry
    max_per_minute: 120  # canaries that it may be given, by all agents together
    rotation: in         # in | out (drained) | deploying
    labels: {provider: aws, region: us-west-2, zone: us-west-2a, pool: mx}
  - name: relay-a2
    host: relay-a2.example.net
    labels: {provider: aws, region: us-west-2, zone: us-west-2b, pool: mx}

# Where canaries are sent from and read back. With two sites, a fault of one site shows as such.
agents:
  - name: sfo
    sender:
      address: canary-sfo@monitor.example
      helo: sfo.monitor.example
      # bounces: monitor/bounces   # customer/mailbox that the sender address delivers to
    labels: {site: sfo}
  - name: fra
    sender: {address: canary-fra@monitor.example, helo: fra.monitor.example}
    labels: {site: fra}
  # One on a relay looks outward from there; without a sender it needs no signing key.
  # - {name: on-relay-a1, on_relay: relay-a1}

# What agents on relays look at: whether port 25 of others' hosts is reached, and the relay's queue.
# destinations:
#   - {name: bigmail, domain: bigmail.example, controls: [443]}     # its MX hosts
#   - {name: reference, hosts: [reference.monitor.example], controls: [443], reference: true}
# checks:
#   - {probe: egress, relays: relay-a1, interval: 30s, timeout: 10s}
#   - {probe: queue, relays: relay-a1, interval: 1m}

# Customers may stand here, in a list under `customers:`, or each in a file of its own in
# customers.d/; customers.d/example.yaml is one.
"""

CUSTOMER = """\
# One customer. Its name comes first in the names of its secrets: example/imap.
name: example

objective: {delivered: 99.5%, within: 60s}
quota: {paths: 500, per_minute: 200}

# Where canaries come home. Two mailboxes at different providers tell a slow provider from a
# slow relay.
mailboxes:
  - name: inbox
    address: canary@customer.example
    imap:
      host: imap.customer.example
      port: 993
      tls: implicit          # implicit | none
      user: canary@customer.example
      secret: example/imap   # the secret's name; the agent knows its value
    folders: {inbox: INBOX, junk: Junk}
    # authserv_id: mx.customer.example   # whose SPF, DKIM and DMARC verdicts to believe
    max_per_minute: 30       # big providers turn a sender away for a day above 60
  - name: other
    address: canary@other-provider.example
    imap: {host: imap.other-provider.example, user: canary, secret: example/other}

# Which canaries fly: through every selected relay one each `interval`, the (agent, mailbox)
# pairs taking turns. Select by `all`, a name, a list of names, or labels.
canaries:
  - {relays: {pool: mx}, agents: all, mailboxes: all, interval: 30s}
"""


def starter_files(directory: Path) -> dict[Path, str]:
    """The files that ``init`` writes into ``directory``, with their texts."""
    return {
        directory / "mailcanary.yaml": MAIN,
        directory / CUSTOMERS / "example.yaml": CUSTOMER,
        directory / "policy.yaml": POLICY_TEMPLATE,
        directory / "secrets" / "signing-key": generate_key() + "\n",
    }


def _write(file: Path, text: str) -> None:
    """Write a file that must not be there yet; whatever is a secret, for its owner alone."""
    secret = file.parent.name == "secrets"
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if secret else 0o777)
    # O_EXCL: whoever made the file in the meantime keeps it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(file, flags, 0o600 if secret else 0o666), "w", encoding="utf-8") as out:
        out.write(text)


def init(
    directory: Annotated[
        Path, typer.Argument(help="Directory to write into; made if need be.", show_default=True)
    ] = Path(),
) -> None:
    """Write a commented starter configuration, an agent's policy and a signing key.

    Existing files are never overwritten.
    """
    files = starter_files(directory)
    existing = [str(file) for file in files if file.exists() or file.is_symlink()]
    if existing:
        typer.echo(f"nothing written, already there: {', '.join(existing)}", err=True)
        raise typer.Exit(1)
    try:
        for file, text in files.items():
            _write(file, text)
            typer.echo(f"wrote {file}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        typer.echo(f"cannot write {error.filename}: {reason}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"edit them, then: mailcanary check {directory / 'mailcanary.yaml'}")
