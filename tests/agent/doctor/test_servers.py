"""The doctor on a running estate: all in order, then one thing wrong at a time."""

import asyncio

import pytest
import yaml

from agent.doctor.diagnose import diagnose
from agent.doctor.model import Status
from lab.estate import Estate
from lab.faults import Drop, ImapDown, ImapHung, InboundFiltered, PortClosed, Refuse, Tarpit
from lab.specs import MailboxSpec, RelaySpec
from probes.contract.config.models import RelayTls
from probes.contract.stages import Stage
from tests.agent.doctor.conftest import PASSWORD, Certificates, Site, by_name, troubles

BOUNCES = "mailbox monitor/lab-bounces, for bounces"


async def test_all_in_order(site: Site) -> None:
    diagnosis = await site.diagnose()
    assert troubles(diagnosis) == []
    assert diagnosis.exit_code == 0
    strict = by_name(diagnosis, "relay strict")
    assert list(strict) == ["secret", "dns", "connect", "smtp", "tls", "auth"]
    assert strict["dns"].seen == "127.20.0.2"
    assert strict["connect"].seen.startswith("127.20.0.2 in ")
    assert strict["smtp"].seen.startswith("220 ")
    assert "AUTH LOGIN PLAIN, DSN" in strict["smtp"].seen
    assert strict["tls"].seen.startswith("TLSv1.3, ")
    assert strict["tls"].seen.endswith("certificate good for 60 days")
    assert strict["auth"].seen == "logged in as canary"
    wrapped = by_name(diagnosis, "relay wrapped")
    assert list(wrapped) == ["secret", "dns", "connect", "tls", "smtp", "auth"]
    plain = by_name(diagnosis, "relay open")
    assert list(plain) == ["dns", "connect", "smtp", "tls"]
    assert plain["tls"].seen == "none, as configured"
    inbox = by_name(diagnosis, "mailbox acme/inbox")
    assert list(inbox) == [
        *("secret", "dns", "connect", "tls", "login", "inbox", "junk", "idle", "uidplus", "quota")
    ]
    assert inbox["tls"].seen.endswith("certificate good for 60 days")
    assert "'INBOX', 0 messages, UIDNEXT " in inbox["inbox"].seen
    assert by_name(diagnosis, BOUNCES)["login"].status is Status.OK
    assert by_name(diagnosis, "here")["agent"].seen == "lab: 3 paths through 3 relays"


async def test_no_mail_is_sent_and_none_read(site: Site) -> None:
    await site.diagnose()
    assert site.estate.truth.acceptances == []
    assert await site.estate.mailboxes["acme/inbox"].contents() == {}


async def test_no_secret_is_shown(site: Site) -> None:
    site.secret("strict", PASSWORD + "x")
    diagnosis = await site.diagnose()
    assert by_name(diagnosis, "relay strict")["auth"].status is Status.FAIL
    assert "Hunter2" not in repr(diagnosis)


async def test_a_closed_port(site: Site) -> None:
    await site.estate.order(PortClosed(), relays=["strict"])
    diagnosis = await site.diagnose()
    strict = by_name(diagnosis, "relay strict")
    assert diagnosis.exit_code == 1
    assert strict["connect"].status is Status.FAIL
    assert strict["connect"].seen == "connection refused"
    assert "nothing listens there" in strict["connect"].advice
    for later in ("smtp", "tls", "auth"):
        assert strict[later].status is Status.SKIPPED
        assert strict[later].seen == "connect failed"
    assert by_name(diagnosis, "relay open")["connect"].status is Status.OK


async def test_a_filtered_port(site: Site) -> None:
    await site.estate.order(InboundFiltered(), relays=["open"])
    diagnosis = await site.diagnose(limit_s=0.3)
    item = by_name(diagnosis, "relay open")["connect"]
    assert item.seen == "timed out after 0.3 s"
    assert "provider's filter" in item.advice


async def test_a_relay_that_refuses_us(site: Site) -> None:
    fault = Refuse(code=554, enhanced="5.7.1", text="No SMTP service here", stage=Stage.BANNER)
    await site.estate.order(fault, relays=["open"])
    item = by_name(await site.diagnose(), "relay open")["smtp"]
    assert item.status is Status.FAIL
    assert "554" in item.seen
    assert "have its address allowed" in item.advice


@pytest.mark.parametrize("fault", [Drop(stage=Stage.EHLO), Tarpit({Stage.EHLO: 60.0})])
async def test_a_relay_that_does_not_answer(site: Site, fault: Drop | Tarpit) -> None:
    await site.estate.order(fault, relays=["wrapped"])
    wrapped = by_name(await site.diagnose(limit_s=0.5), "relay wrapped")
    assert wrapped["tls"].status is Status.OK
    assert wrapped["smtp"].status is Status.FAIL
    assert wrapped["auth"].status is Status.SKIPPED


async def test_a_wrong_password_of_a_relay(site: Site) -> None:
    site.secret("strict", "wrong")
    diagnosis = await site.diagnose()
    item = by_name(diagnosis, "relay strict")["auth"]
    assert item.status is Status.FAIL
    assert item.seen.startswith("535 ")
    assert "correct the secret's value" in item.advice
    assert len(troubles(diagnosis)) == 1


async def test_a_wrong_password_of_a_mailbox(site: Site) -> None:
    site.secret("acme/inbox", "wrong")
    diagnosis = await site.diagnose()
    inbox = by_name(diagnosis, "mailbox acme/inbox")
    assert inbox["tls"].status is Status.OK
    assert inbox["login"].status is Status.FAIL
    assert "correct the secret's value" in inbox["login"].advice
    assert inbox["junk"].status is Status.SKIPPED


async def test_no_secret(site: Site) -> None:
    (site.directory / "secrets" / "strict").unlink()
    (site.directory / "secrets" / "acme" / "inbox").chmod(0o644)
    diagnosis = await site.diagnose()
    strict = by_name(diagnosis, "relay strict")
    assert strict["secret"].status is Status.FAIL
    assert "found none, looked in" in strict["secret"].seen
    # What needs no secret is tried all the same.
    assert strict["tls"].status is Status.OK
    assert strict["auth"].status is Status.SKIPPED
    inbox = by_name(diagnosis, "mailbox acme/inbox")
    assert "found mode 0644" in inbox["secret"].seen
    assert inbox["tls"].status is Status.OK
    assert inbox["login"].status is Status.SKIPPED
    assert diagnosis.exit_code == 1


async def test_a_secret_that_may_not_go_there(site: Site) -> None:
    site.policy["secrets"][0]["to"] = ["elsewhere.example:25"]
    item = by_name(await site.diagnose(), "relay strict")["secret"]
    assert item.seen.endswith("asking for it, the agent's policy allows elsewhere.example:25")
    assert "add its line" in item.advice


@pytest.mark.parametrize("rules", ["some", "none"])
async def test_the_lines_that_the_policy_lacks_mend_it(site: Site, rules: str) -> None:
    """As they are printed, put where it is said."""
    before = list(site.policy["secrets"])
    site.policy["secrets"] = before[:1] if rules == "some" else []
    diagnosis = await site.diagnose()
    lines = diagnosis.lacking
    assert len(lines) == len(before) - len(site.policy["secrets"])
    file = site.directory / "policy.yaml"
    text = file.read_text()
    if diagnosis.indent is None:
        text = text.replace("secrets: []", "\n".join(["secrets:", *lines]))
    else:
        text = text.replace("secrets:\n", "\n".join(["secrets:", *lines, ""]), 1)
    file.write_text(text)
    mended = await asyncio.to_thread(diagnose, site.request(), site.environment)
    assert mended.lacking == []
    assert troubles(mended) == []


async def test_without_tls_a_rule_alone_is_not_enough(site: Site) -> None:
    rule = next(rule for rule in site.policy["secrets"] if rule["secret"] == "acme/inbox")
    site.mailbox("acme/inbox")["imap"]["tls"] = "none"
    item = by_name(await site.diagnose(), "mailbox acme/inbox")["secret"]
    assert (item.status, item.rule) == (Status.FAIL, None)
    assert item.advice == "set tls: implicit, or have the rule say so"
    site.policy["secrets"].remove(rule)
    item = by_name(await site.diagnose(), "mailbox acme/inbox")["secret"]
    assert item.rule is not None
    assert item.rule.unverified


async def test_a_missing_junk_folder(site: Site) -> None:
    site.mailbox("acme/inbox")["folders"]["junk"] = "Spam"
    item = by_name(await site.diagnose(), "mailbox acme/inbox")["junk"]
    assert item.status is Status.FAIL
    assert "there are 'INBOX', 'Junk'" in item.seen
    assert item.advice == "set folders.junk: 'Junk'"


async def test_no_junk_folder_configured(site: Site) -> None:
    del site.mailbox("acme/inbox")["folders"]["junk"]
    item = by_name(await site.diagnose(), "mailbox acme/inbox")["junk"]
    assert item.status is Status.WARN
    assert "set folders.junk: 'Junk'" in item.advice


async def test_a_missing_inbox(site: Site) -> None:
    site.mailbox("acme/inbox")["folders"]["inbox"] = "Canaries"
    inbox = by_name(await site.diagnose(), "mailbox acme/inbox")
    assert inbox["inbox"].status is Status.FAIL
    assert inbox["inbox"].advice == "set folders.inbox: 'INBOX'"
    assert inbox["junk"].status is Status.OK


async def test_a_denied_address(site: Site) -> None:
    del site.policy["addresses"]
    diagnosis = await site.diagnose()
    inbox = by_name(diagnosis, "mailbox acme/inbox")
    assert inbox["dns"].status is Status.FAIL
    assert inbox["dns"].seen == "127.23.0.1 (denied: 127.0.0.0/8)"
    assert "addresses: {allow: [127.23.0.1/32]}" in inbox["dns"].advice
    assert inbox["connect"].status is Status.SKIPPED
    # Relays are the operator's: their addresses are not judged.
    assert by_name(diagnosis, "relay open")["connect"].status is Status.OK


async def test_names_that_do_not_exist(site: Site) -> None:
    relay = site.relay("open")
    relay["host"] = "no-such-host.invalid"
    open_ = by_name(await site.diagnose(), "relay open")
    assert open_["dns"].status is Status.FAIL
    assert open_["dns"].seen.startswith("no-such-host.invalid: ")
    assert open_["connect"].seen == "there is no address to connect to"


async def test_imap_down_and_hung(site: Site) -> None:
    await site.estate.order(ImapDown(), mailboxes=["acme/inbox"])
    hung = await site.estate.order(ImapHung(), mailboxes=["monitor/lab-bounces"])
    diagnosis = await site.diagnose(limit_s=0.5)
    await hung.clear()
    assert by_name(diagnosis, "mailbox acme/inbox")["connect"].status is Status.FAIL
    bounces = by_name(diagnosis, BOUNCES)
    failed = [item for item in bounces.values() if item.status is Status.FAIL]
    assert len(failed) == 1
    assert "within 0.5 s" in failed[0].seen


@pytest.mark.parametrize(("days_left", "status"), [(-2, Status.FAIL), (3, Status.WARN)])
async def test_certificates_that_end(
    site: Site, certificates: Certificates, days_left: int, status: Status
) -> None:
    """Expired, or about to: relays and mailboxes alike."""
    context = certificates.context(days_left=days_left)
    relay = RelaySpec(name="old", tls=RelayTls.STARTTLS, tls_context=context)
    box = MailboxSpec(name="acme/inbox", password=PASSWORD, tls_context=context)
    async with Estate([relay], [box]) as estate:
        site.config = estate.config_document()
        site.policy["secrets"] = [
            {"secret": "acme/inbox", "to": [_endpoint(site, "acme/inbox")]},
            {
                "secret": "monitor/lab-bounces",
                "to": [_endpoint(site, "monitor/lab-bounces")],
                "unverified": True,
            },
        ]
        site.secret("monitor/lab-bounces", estate.secrets["monitor/lab-bounces"])
        diagnosis = await site.diagnose()
    for group in ("relay old", "mailbox acme/inbox"):
        item = by_name(diagnosis, group)["tls"]
        assert item.status is status, item
        assert "renew" in item.advice
        assert ("expired" in item.seen) == (days_left < 0)
        assert ("good for 3 days" in item.seen) == (days_left == 3)


def _endpoint(site: Site, name: str) -> str:
    imap = site.mailbox(name)["imap"]
    return f"{imap['host']}:{imap['port']}"


async def test_opportunistic_tls_that_does_not_verify(site: Site) -> None:
    """Mail goes out all the same, so it is no failure."""
    site.relay("strict")["tls"] = "opportunistic"
    del site.relay("strict")["auth"]
    del site.policy["ca_file"]
    strict = by_name(await site.diagnose(), "relay strict")
    assert strict["tls"].status is Status.WARN
    assert "not issued by a trusted authority" in strict["tls"].seen
    assert "ca_file" in strict["tls"].advice


async def test_tls_that_is_not_offered(site: Site) -> None:
    site.relay("open")["tls"] = "opportunistic"
    item = by_name(await site.diagnose(), "relay open")["tls"]
    assert (item.status, item.seen) == (
        Status.WARN,
        "STARTTLS is not offered, so canaries go in the clear",
    )
    site.relay("open")["tls"] = "starttls"
    item = by_name(await site.diagnose(), "relay open")["tls"]
    assert item.status is Status.FAIL
    assert "enable STARTTLS" in item.advice


async def test_a_ca_file_that_is_not_there(site: Site) -> None:
    site.policy["ca_file"] = "/nonexistent/ca.pem"
    diagnosis = await site.diagnose()
    for group, item in (("relay strict", "tls"), ("mailbox acme/inbox", "tls")):
        found = by_name(diagnosis, group)[item]
        assert found.status is Status.FAIL, found
        assert "check ca_file" in found.advice


async def test_relays_of_other_agents_are_left_alone(site: Site) -> None:
    for customer in site.config["customers"]:
        for rule in customer["canaries"]:
            rule["relays"] = ["open"]
    diagnosis = await site.diagnose()
    assert {item.group for item in diagnosis.items} == {
        "here",
        "relay open",
        "mailbox acme/inbox",
        BOUNCES,
    }
    seen = by_name(diagnosis, "here")["agent"].seen
    assert seen == "lab: 1 paths through 1 relays (2 more are not its own)"


async def test_an_agent_without_work_and_without_bounces(site: Site) -> None:
    for customer in site.config["customers"]:
        customer["canaries"] = []
    del site.config["agents"][0]["sender"]["bounces"]
    here = by_name(await site.diagnose(), "here")
    assert here["agent"].status is Status.WARN
    assert here["bounces"].status is Status.WARN


async def test_a_broken_policy_leaves_what_needs_no_secret(site: Site) -> None:
    site.write()
    policy = site.directory / "policy.yaml"
    policy.write_text(policy.read_text() + "colour: red\nshape: round\n")
    other = site.directory / "other.yaml"
    policy.rename(other)
    diagnosis = await site.diagnose(policy=other)
    here = [item for item in diagnosis.items if item.name == "policy"]
    assert [item.status for item in here] == [Status.FAIL, Status.FAIL]
    assert "colour: found the unknown key 'colour'" in here[0].seen
    assert by_name(diagnosis, "relay open")["smtp"].status is Status.OK
    assert by_name(diagnosis, "relay strict")["auth"].status is Status.SKIPPED
    assert by_name(diagnosis, "mailbox acme/inbox")["dns"].status is Status.FAIL
    assert diagnosis.exit_code == 2


async def test_a_short_key(site: Site) -> None:
    site.secret("signing-key", "short")
    item = by_name(await site.diagnose(), "here")["signing keys"]
    assert item.status is Status.FAIL
    assert "at least 16 bytes" in item.seen


async def test_a_broken_configuration(site: Site) -> None:
    site.write()
    site.config_file.write_text(yaml.safe_dump(site.config | {"colour": 1, "shape": 2}))
    broken = site.directory / "broken.yaml"
    site.config_file.rename(broken)
    diagnosis = await site.diagnose(config=broken)
    found = [item.seen for item in diagnosis.items if item.name == "config"]
    assert len(found) == 2
    assert diagnosis.exit_code == 2
    unknown = await site.diagnose(agent="nobody")
    assert by_name(unknown, "here")["agent"].seen.startswith("--name: found 'nobody'")
    assert unknown.exit_code == 2
