"""A mailbox that is read with access tokens (XOAUTH2), which run out every hour or so."""

import re
import time

import pytest

from probes.contract.outcome import Outcome
from tests.servers.agent_config import config_words, customer_words, relay_words
from tests.servers.agents import Crew, RunningAgent
from tests.servers.estate import ServerEstate
from tests.servers.tokens import access_token

pytestmark = [pytest.mark.servers, pytest.mark.slow]

ACME, SECRET = "acme/inbox", "acme/imap"
DEADLINE_S, LOSS_AFTER_S = 10, 20
FOLDERS = 2
WAIT_AFTER_REFUSAL_S = 60


def start(crew: Crew) -> RunningAgent:
    """One relay, and acme's mailbox, read with the token that the crew has for it."""
    estate = crew.estate
    customer = customer_words(estate, "acme")
    customer["mailboxes"][0]["imap"]["auth"] = "xoauth2"
    config = config_words(
        estate,
        [relay_words(estate.relays[0])],
        [customer],
        deadline=f"{DEADLINE_S}s",
        loss_after=f"{LOSS_AFTER_S}s",
    )
    crew.workplace.write(config)
    return crew.start()


def refusals(estate: ServerEstate) -> int:
    """How many logins with a token Dovecot has ever refused."""
    log = estate.dovecot.log.read_text(errors="replace")
    return len(re.findall(r"imap-login: .*auth failed.*method=XOAUTH2", log))


def refused_detail(agent: RunningAgent) -> str | None:
    """What the last heartbeat says of the mailbox if it is down for its credentials."""
    health = agent.journal.health(ACME)
    if health is None or health.state != "down":
        return None
    return health.detail if "auth: credentials: " in (health.detail or "") else None


@pytest.mark.timeout(240)
def test_an_expired_token_is_told_and_a_new_one_is_used_without_a_restart(crew: Crew) -> None:
    """Meanwhile no login is tried within a minute, no canary is lost, and all are found after."""
    estate = crew.estate
    user = estate.mailboxes["acme"].user
    expires_s = time.time() + 8
    crew.workplace.secrets[SECRET] = expired = access_token(user, expires_s)
    agent = start(crew)
    agent.journal.wait_for_each([("relay-1", ACME)], Outcome.DELIVERED)
    before = refusals(estate)

    # An open session outlives its token; the next one needs another.
    agent.journal.wait_for(lambda: time.time() > expires_s + 2, "the end of the token")
    expired_ns = time.time_ns()
    agent.journal.wait_for_each([("relay-1", ACME)], Outcome.DELIVERED, since_ns=expired_ns)
    estate.dovecot.stop()
    estate.dovecot.start()
    agent.journal.wait_for(
        lambda: refusals(estate) == before + FOLDERS, "a refusal for each folder"
    )
    refused_ns = time.time_ns()
    agent.journal.wait_for(lambda: refused_detail(agent) is not None, "a heartbeat that says so")
    # What Dovecot says of it, in the answer to its challenge too; and not the token.
    assert '"status":"401"' in (detail := refused_detail(agent) or "")
    assert expired not in detail
    agent.journal.wait_for(
        lambda: time.time_ns() > refused_ns + (LOSS_AFTER_S + 5) * 1e9,
        "canaries that nobody looks for",
    )
    # Not a third: a server locks an account that knocks for an hour.
    assert refusals(estate) == before + FOLDERS

    crew.workplace.secrets |= {
        "acme/expired": expired,
        SECRET: access_token(user, time.time() + 3600),
    }
    crew.workplace.write_secrets()
    renewed_ns = time.time_ns()
    agent.journal.wait_for_each([("relay-1", ACME)], Outcome.DELIVERED, since_ns=renewed_ns)
    assert refusals(estate) == before + FOLDERS
    assert time.time_ns() - refused_ns >= (WAIT_AFTER_REFUSAL_S - 1) * 1e9
    accepted = [canary for canary in agent.journal.canaries() if canary.submissions]
    agent.journal.wait_for(lambda: all(canary.arrivals for canary in accepted), "every canary")
    assert not [canary for canary in accepted if canary.expiries]
    assert agent.stop() == 0
    agent.journal.assert_contiguous()
