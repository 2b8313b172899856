"""How long a fleet's configuration and plan take: 1,000 customers x 100 relays x 5 agents.

The floor is a bare loop that computes one hash for each stream and makes one object for each path:
no plan with hashed phases can do less.
"""

import hashlib

import yaml

from benchmarks.figures import Figure, best_of, compared
from probes.contract.config.loader import parse_config
from probes.contract.config.models import Agent, Config
from probes.contract.config.source import Source
from probes.contract.names import Path
from probes.contract.plan import PathPlan, next_due_ns, plan

CUSTOMERS = 1000
RELAYS = 100
AGENTS = 5
NOW_NS = 1_700_000_000_000_000_000

_CUSTOMER = """\
name: customer-{n}
mailboxes:
  - name: inbox
    address: canary@customer-{n}.example
    imap:
      host: imap.customer-{n}.example
      user: canary
      secret: customer-{n}/imap
    labels: {{mx: google}}
canaries:
  - {{relays: {{pool: mx}}, agents: all, mailboxes: all, interval: 2h}}
"""


def sources() -> list[Source]:
    """The fleet as a main file and one file per customer."""
    relays = "".join(
        f"  - name: relay-{n}\n    host: relay-{n}.example.net\n"
        f"    labels: {{provider: p{n % 3}, zone: z{n % 7}, pool: mx}}\n"
        for n in range(RELAYS)
    )
    agents = "".join(
        f"  - name: agent-{n}\n"
        f"    sender: {{address: canary@agent-{n}.example, helo: agent-{n}.example}}\n"
        for n in range(AGENTS)
    )
    main = Source("mailcanary.yaml", f"version: 1\nrelays:\n{relays}agents:\n{agents}")
    customers = (
        Source(f"customers.d/{n}.yaml", _CUSTOMER.format(n=n), "customer") for n in range(CUSTOMERS)
    )
    return [main, *customers]


def run() -> list[Figure]:
    """Seconds to read the configuration, to plan all paths, and to plan one agent's."""
    texts = sources()
    config = parse_config(texts)
    entries = plan(config).for_agent("agent-0")[:10_000]
    per_path = 1e6 / len(entries)
    floor = "bare loop: one hash per stream, one object per path"
    return [
        compared(
            "plan.read_config",
            best_of(3, lambda: parse_config(texts)),
            "s",
            "yaml.load with the C loader, nothing checked",
            best_of(3, lambda: [yaml.load(text.text, Loader=yaml.CSafeLoader) for text in texts]),
        ),
        compared(
            "plan.all_paths",
            best_of(3, lambda: sum(1 for _ in plan(config).paths())),
            "s",
            floor,
            best_of(3, lambda: _floor(config, config.agents)),
        ),
        compared(
            "plan.one_agent",
            best_of(3, lambda: plan(config).for_agent("agent-0")),
            "s",
            floor,
            best_of(3, lambda: _floor(config, config.agents[:1])),
        ),
        compared(
            "plan.next_due",
            best_of(3, lambda: [next_due_ns(entry, NOW_NS) for entry in entries]) * per_path,
            "us/path",
            "bare loop: one hash per path",
            best_of(3, lambda: [_hash(str(index)) for index in range(len(entries))]) * per_path,
        ),
    ]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _floor(config: Config, agents: tuple[Agent, ...]) -> int:
    count = 0
    for customer in config.customers:
        mailbox = f"{customer.name}/inbox"
        for relay in config.relays:
            phase = float(_hash(f"{customer.name}\0{relay.name}"))
            for agent in agents:
                PathPlan(Path(agent.name, relay.name, mailbox), 1.0, phase, 60.0, 1800.0)
                count += 1
    return count
