"""One mailbox: may it be read, are its folders there, does the server offer what keeps it cheap."""

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from ipaddress import ip_network

from agent.doctor import advice
from agent.doctor.around import Around, addresses, resolve, secret_failed
from agent.doctor.certificates import judge_session
from agent.doctor.model import Findings, Item
from agent.doctor.rules import lacking
from agent.policy.addresses import denied
from agent.policy.targets import imap_target, permits
from probes.contract.config.models import Imap, ImapTls, Mailbox
from probes.contract.secret import Secret
from probes.contract.stages import Reason, Stage
from probes.imap import ImapFailure, ImapStage, ImapTarget
from probes.imap.survey import Survey, survey
from probes.smtp import Endpoint
from probes.smtp.certificate import not_after_ns

FULL = 0.95
NEARLY_FULL = 0.8
_JUNK_NAMES = frozenset({"junk", "spam", "junk e-mail", "junk email", "bulk mail", "bulk"})
_SHOWN_FOLDERS = 12
_OFFERS = ("idle", "uidplus", "quota")
_ITEM_OF = {
    Stage.RESOLVE: "connect",
    Stage.CONNECT: "connect",
    Stage.TLS: "tls",
    Stage.BANNER: "login",
    ImapStage.CAPABILITY: "login",
    Stage.AUTH: "login",
}
"""The item that a failure belongs to; later ones belong to the folders."""


async def examine_mailbox(name: str, mailbox: Mailbox, around: Around, use: str = "") -> list[Item]:
    """Secret, name, addresses allowed, port, TLS, login, folders, IDLE, UIDPLUS, quota."""
    found = Findings(f"mailbox {name}{use}")
    imap = mailbox.imap
    target, has_secret = _target(found, imap, around)
    folders = [mailbox.folders.inbox]
    if mailbox.folders.junk is not None:
        folders.append(mailbox.folders.junk)
    steps = ["connect", "tls", "login", "inbox", "junk", *_OFFERS]
    endpoints = await resolve(found, imap.host, imap.port, around.limit_s)
    if endpoints is None or not _allowed(found, endpoints, around):
        found.skip(steps, "there is no address to connect to")
        return found.items
    seen = await survey(target, folders, permits(around.policy))
    failure = seen.failure
    failed = None if failure is None else _ITEM_OF.get(failure.stage, "folders")
    for step in steps[:3]:
        if step == failed and failure is not None:
            if step == "login" and not has_secret:
                found.skip(steps[steps.index(step) :], "without the secret")
            else:
                _failed(found, step, failure)
                found.skip(steps[steps.index(step) + 1 :], f"{step} failed")
            return found.items
        _went_well(found, step, imap, seen, around)
    if failure is not None:
        found.fail("folders", str(failure), advice.talking(failure.reason))
    _inbox(found, mailbox, seen)
    _junk(found, mailbox, seen)
    _offers(found, seen)
    return found.items


def _target(found: Findings, imap: Imap, around: Around) -> tuple[ImapTarget, bool]:
    """The target, and whether it has a secret; without one the survey ends before the login."""
    nothing = ImapTarget(imap.host, imap.port, imap.tls, imap.user, Secret("", imap.secret))
    target, has_secret = replace(nothing, ca_file=around.policy.ca_file), False
    if around.secrets is None:
        found.skip(["secret"], "the policy cannot be read")
    else:
        try:
            target, has_secret = imap_target(imap, around.policy, around.secrets), True
            found.ok("secret", f"{imap.secret} may go to {imap.host}:{imap.port}")
        except ImapFailure as failure:
            _secret_failed(found, imap, failure, around)
    limit_s = around.limit_s
    return replace(target, connect_timeout_s=limit_s, command_timeout_s=limit_s), has_secret


def _secret_failed(found: Findings, imap: Imap, failure: ImapFailure, around: Around) -> None:
    if failure.reason is Reason.POLICY:
        # There is a rule, which does not let it go without TLS.
        found.fail("secret", failure.detail, "set tls: implicit, or have the rule say so")
        return
    clear = imap.tls is ImapTls.NONE
    rule = lacking(around.policy, imap.secret, imap.host, imap.port, in_the_clear=clear)
    secret_failed(found, failure.detail, rule)


def _allowed(found: Findings, endpoints: list[Endpoint], around: Around) -> bool:
    """The item ``dns``; whether the policy leaves an address to connect to."""
    refused = {}
    for endpoint in endpoints:
        address = str(endpoint.sockaddr[0])
        if (network := denied(address, around.policy.addresses)) is not None:
            refused[address] = network
    if not refused:
        found.ok("dns", addresses(endpoints))
        return True
    seen = ", ".join(f"{address} (denied: {network})" for address, network in refused.items())
    text = f"customers' hosts may not be there; if this one may: {_allowing(refused)} in the policy"
    left = [endpoint for endpoint in endpoints if str(endpoint.sockaddr[0]) not in refused]
    if not left:
        found.fail("dns", seen, text)
        return False
    found.warn("dns", f"{addresses(left)}; not used: {seen}", text)
    return True


def _allowing(addresses: Iterable[str]) -> str:
    return f"addresses: {{allow: [{', '.join(str(ip_network(one)) for one in addresses)}]}}"


def _failed(found: Findings, step: str, failure: ImapFailure) -> None:
    if step == "connect":
        what = advice.connecting(failure.reason)
    elif step == "tls":
        what = advice.encrypting(failure.reason)
    elif failure.stage is Stage.AUTH:
        what = advice.logging_in(failure.reason)
    else:
        what = advice.talking(failure.reason)
    found.fail(step, failure.detail, what)


def _went_well(found: Findings, step: str, imap: Imap, seen: Survey, around: Around) -> None:
    if step == "connect":
        found.ok("connect", f"{seen.peer} port {imap.port}")
    elif step == "login":
        found.ok("login", f"logged in as {imap.user} ({imap.auth})")
    elif imap.tls is ImapTls.NONE or seen.tls is None:
        found.ok("tls", "none, as configured")
    else:
        session = f"{seen.tls.version}, {seen.tls.cipher}"
        ends = not_after_ns(seen.tls.certificate) if seen.tls.certificate else None
        judge_session(found, session, ends, None, around.now_ns())


def _inbox(found: Findings, mailbox: Mailbox, seen: Survey) -> None:
    _folder(found, "inbox", mailbox.folders.inbox, seen, "INBOX")


def _junk(found: Findings, mailbox: Mailbox, seen: Survey) -> None:
    configured = mailbox.folders.junk
    likely = _likely_junk(seen)
    if configured is not None:
        _folder(found, "junk", configured, seen, likely)
    elif likely is not None:
        found.warn(
            "junk",
            f"none configured, and there is {likely!r}",
            f"set folders.junk: {likely!r}, or canaries taken for spam count as lost",
        )
    elif not seen.folders:
        found.skip(["junk"], "the folders could not be listed")
    else:
        found.ok("junk", "none configured, and none seen")


def _likely_junk(seen: Survey) -> str | None:
    usable = [folder for folder in seen.folders if folder.selectable]
    for folder in usable:
        if folder.is_junk:
            return folder.name
    for folder in usable:
        if folder.name.lower() in _JUNK_NAMES:
            return folder.name
    return None


def _folder(found: Findings, item: str, name: str, seen: Survey, likely: str | None) -> None:
    look = seen.looks.get(name)
    if look is None:
        found.skip([item], "not reached")
    elif look.refused is not None:
        names = [folder.name for folder in seen.folders if folder.selectable]
        close = likely if likely in names else next(iter(get_close_matches(name, names, n=1)), None)
        shown = ", ".join(map(repr, names[:_SHOWN_FOLDERS])) or "none"
        more = f" and {len(names) - _SHOWN_FOLDERS} more" if len(names) > _SHOWN_FOLDERS else ""
        what = f"set folders.{item}: {close!r}" if close else f"set folders.{item} to one of them"
        found.fail(item, f"{name!r}: {look.refused.rstrip('.')}; there are {shown}{more}", what)
    elif look.uidvalidity is None:
        what = "the server keeps no UIDs there, without which a mailbox cannot be followed"
        found.fail(item, f"{name!r} has no UIDVALIDITY", f"{what}: use another server")
    elif look.read_only:
        what = "let the user delete mail there, or the canaries pile up"
        found.warn(item, f"{name!r}, {look.exists} messages, read-only", what)
    elif look.uidnext is None:
        what = "nothing need be done: the agent asks for the last message's UID instead"
        found.warn(item, f"{name!r}, {look.exists} messages, UIDNEXT is not offered", what)
    else:
        found.ok(item, f"{name!r}, {look.exists} messages, UIDNEXT {look.uidnext}")


def _offers(found: Findings, seen: Survey) -> None:
    if seen.offers("IDLE"):
        found.ok("idle", "offered")
    else:
        what = "nothing need be done: the mailbox is asked again and again while canaries fly"
        found.warn("idle", "not offered", what)
    if seen.offers("UIDPLUS"):
        found.ok("uidplus", "offered")
    else:
        found.warn(
            "uidplus",
            "not offered, so canaries are marked as deleted and stay",
            "have the server expunge the mailbox every day",
        )
    if not seen.offers("QUOTA"):
        found.ok("quota", "the server does not tell")
    elif seen.quota is None:
        found.ok("quota", "no limit told")
    else:
        _quota(found, seen.quota)


def _quota(found: Findings, used: float) -> None:
    text = f"{used:.0%} used"
    what = "make room: a full mailbox bounces canaries as it bounces the customer's mail"
    if used >= FULL:
        found.fail("quota", text, what)
    elif used >= NEARLY_FULL:
        found.warn("quota", text, what)
    else:
        found.ok("quota", text)
