"""What every examination needs to know of its surroundings."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.doctor.model import Findings
from agent.doctor.names import NoAddressError, look_up
from agent.doctor.rules import Rule
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets
from probes.contract.config.models import Timeouts
from probes.smtp import Endpoint


@dataclass(frozen=True, slots=True)
class Around:
    """``secrets`` is ``None`` when the policy cannot be read: then nothing logs in anywhere.

    ``limit_s`` bounds each step in seconds.
    """

    policy: PolicyFile
    secrets: Secrets | None
    helo: str
    timeouts: Timeouts
    limit_s: float = 10.0
    now_ns: Callable[[], int] = time.time_ns

    def relay_timeouts(self) -> Timeouts:
        """The configured ones, as far as they are within ``limit_s``."""
        given = self.timeouts
        limit = self.limit_s
        return given.model_copy(
            update={name: min(getattr(given, name), limit) for name in Timeouts.model_fields}
        )


async def resolve(found: Findings, host: str, port: int, limit_s: float) -> list[Endpoint] | None:
    """The addresses of ``host``; without any the item ``dns`` has failed and this is ``None``."""
    try:
        return await look_up(host, port, limit_s)
    except NoAddressError as error:
        found.fail("dns", f"{host}: {error}", "check the name, and this host's resolver")
        return None


def secret_failed(found: Findings, why: str, rule: Rule | None) -> None:
    """The item ``secret``, which may not go there (then ``rule`` is missing), or cannot be read."""
    if rule is None:
        what = (
            "it has to be there as one line of text that this user can read and others cannot "
            "(mode 0400, or 0440 for a group)"
        )
    else:
        what = "if it is meant to go there, add its line, which stands below, to the policy"
    found.fail("secret", why, what, rule)


def addresses(endpoints: list[Endpoint]) -> str:
    """The endpoints' addresses, each once."""
    return ", ".join(dict.fromkeys(str(endpoint.sockaddr[0]) for endpoint in endpoints))
