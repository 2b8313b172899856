"""Killed at any moment, again and again, an agent accounts for every canary exactly once."""

import contextlib
import random
import smtplib
import time
from collections import Counter
from email.message import EmailMessage

import pytest

from probes.contract.message import message_id
from probes.contract.token import HEADER
from tests.servers.accounts import FINAL, accepted_ids, assert_accounted_for
from tests.servers.agent_config import Words, at, config_words, customer_words, relay_words
from tests.servers.agents import Crew, RunningAgent
from tests.servers.dovecot import Mailbox
from tests.servers.estate import MONITOR_DOMAIN, ServerEstate
from tests.servers.process import wait_until
from tests.servers.proxy import Direction

pytestmark = pytest.mark.servers

KILLS = 20
SEED = 20040229
KILLED_AT_START = 0.25
LONGEST_WORK_S = 1.5
LATENCY_S = 0.1
LOSS_AFTER_S = 12.0


def configured(crew: Crew, interval: str) -> Words:
    """Two mailboxes behind five relays; the way to the first one is slow, so kills hit it."""
    estate = crew.estate
    front = estate.proxy(estate.relays[0].endpoint)
    front.slow(to_client=Direction(latency=LATENCY_S))
    relays = [
        relay_words(relay, **(at(front.endpoint) if index == 0 else {}))
        for index, relay in enumerate(estate.relays)
    ]
    customers = [
        customer_words(estate, name, rule={"interval": interval}) for name in ("acme", "globex")
    ]
    return config_words(estate, relays, customers, deadline="5s", loss_after=f"{LOSS_AFTER_S:g}s")


def put_foreign_mail(estate: ServerEstate, box: Mailbox, number: int) -> bytes:
    """A mail of somebody else's, every other one with a canary's field that no agent wrote.

    Gives it as it lies in the mailbox.
    """
    message = EmailMessage()
    message["From"] = "somebody@elsewhere.example"
    message["To"] = box.address
    message["Subject"] = f"Foreign mail {number}"
    if number % 2:
        message[HEADER] = "v=1; id=nonsense"
    message.set_content("Nothing for a monitor.")
    with smtplib.SMTP(*estate.relays[1].endpoint, timeout=20) as client:
        client.send_message(message)
    subject = f"Subject: Foreign mail {number}\n".encode()

    def arrived() -> list[bytes]:
        return [data for data in contents(box) if subject in data]

    wait_until(lambda: bool(arrived()), f"foreign mail {number} in {box.name}")
    return arrived()[0]


def contents(box: Mailbox) -> list[bytes]:
    """All mails of a mailbox. The IMAP server may still be at work for a killed agent."""
    mails = []
    for path in box.files():
        with contextlib.suppress(FileNotFoundError):
            mails.append(path.read_bytes())
    return mails


def live_and_die(agent: RunningAgent, rng: random.Random) -> None:
    """One start, and a kill at a random moment: of the start itself, or of the work after it."""
    written = len(agent.journal.entries)
    agent.start()
    if rng.random() < KILLED_AT_START:
        time.sleep(rng.uniform(0.05, 1.0))
    else:
        agent.journal.wait_for(
            lambda: len(agent.journal.entries) > written, "an event of this life"
        )
        time.sleep(rng.uniform(0.0, LONGEST_WORK_S))
    agent.kill()
    agent.journal.refresh()


@pytest.mark.timeout(300)
def test_an_agent_killed_again_and_again_accounts_for_every_canary_once(crew: Crew) -> None:
    """Each intent has one end, no canary is sent twice, and nothing of others is touched."""
    estate = crew.estate
    boxes = [estate.mailboxes["acme"], estate.mailboxes["globex"]]
    foreign = {box.name: [put_foreign_mail(estate, box, 0)] for box in boxes}
    taken_before = accepted_ids(estate)
    config = configured(crew, "500ms")
    crew.workplace.write(config)
    rng = random.Random(SEED)  # noqa: S311 - moments of kills
    agent = RunningAgent(crew.workplace)
    crew.agents.append(agent)
    for life in range(1, KILLS + 1):
        live_and_die(agent, rng)
        if life % 5 == 0:
            for box in boxes:
                foreign[box.name].append(put_foreign_mail(estate, box, life // 5))

    # One more life without new canaries: their time is years away.
    for customer in config["customers"]:
        for rule in customer.get("canaries", ()):
            rule["interval"] = "365d"
    crew.workplace.write(config)
    agent.start()
    journal = agent.journal
    journal.wait_for(
        lambda: {canary.outcome for canary in journal.canaries()} <= FINAL,
        "an end for every canary",
    )
    wait_until(
        lambda: all(len(box.files()) == len(foreign[box.name]) for box in boxes),
        "an end of the canaries' mails",
        timeout=30,
    )
    assert agent.stop() == 0
    journal.assert_contiguous()
    canaries = journal.canaries()
    taken = accepted_ids(estate) - taken_before
    assert max(taken.values()) == 1
    ids = {message_id(canary.id, MONITOR_DOMAIN) for canary in canaries}
    assert set(taken) <= ids
    for canary in canaries:
        assert_accounted_for(canary, arrived=message_id(canary.id, MONITOR_DOMAIN) in taken)
    assert any(canary.was_interrupted for canary in canaries)
    assert {canary.relay for canary in canaries if canary.arrivals} == {
        relay.name for relay in estate.relays
    }
    for box in boxes:
        assert sorted(contents(box)) == sorted(foreign[box.name])
    numbers = Counter((str(c.intent.path), c.intent.path_seq) for c in canaries)
    assert max(numbers.values()) == 1
