"""One relay, as far as the login: no mail is sent."""

from agent.doctor import advice
from agent.doctor.around import Around, addresses, resolve, secret_failed
from agent.doctor.certificates import judge_session
from agent.doctor.model import Findings, Item
from agent.doctor.rules import Rule, lacking
from agent.policy.targets import smtp_target
from probes.contract.config.models import Relay, RelayTls
from probes.contract.errors import SecretError
from probes.contract.stages import Stage
from probes.smtp import Endpoint, SmtpTarget
from probes.smtp.greet import Greeting, greet
from probes.smtp.replies import one_line

_ITEM_OF = {
    Stage.RESOLVE: "dns",
    Stage.CONNECT: "connect",
    Stage.BANNER: "smtp",
    Stage.EHLO: "smtp",
    Stage.TLS: "tls",
    Stage.AUTH: "auth",
}


async def examine_relay(relay: Relay, around: Around) -> list[Item]:
    """Secret, name, port, TLS, what EHLO offers, login."""
    found = Findings(f"relay {relay.name}")
    target = _target(found, relay, around)
    steps = _steps(relay)
    endpoints = await resolve(found, relay.host, relay.port, around.limit_s)
    if endpoints is None:
        found.skip(steps, "there is no address to connect to")
        return found.items
    found.ok("dns", addresses(endpoints))

    async def known(_host: str, _port: int, _family: int) -> list[Endpoint]:
        return endpoints

    greeting = await greet(target, wall_ns=around.now_ns, resolve=known)
    failed = None if greeting.stage is None else _ITEM_OF.get(greeting.stage, "connect")
    for index, step in enumerate(steps):
        if step == failed or (failed == "dns" and step == "connect"):
            _failed(found, step, greeting)
            found.skip(steps[index + 1 :], f"{step} failed")
            break
        if step == "auth" and target.user is None:
            found.skip([step], "without the secret")
        else:
            _went_well(found, step, relay, greeting, around.now_ns())
    return found.items


def _steps(relay: Relay) -> list[str]:
    steps = ["connect", "smtp", "tls"]
    if relay.tls is RelayTls.IMPLICIT:
        steps = ["connect", "tls", "smtp"]
    return steps if relay.auth is None else [*steps, "auth"]


def _target(found: Findings, relay: Relay, around: Around) -> SmtpTarget:
    """The target; one that does not log in where the secret is not to be had."""
    anonymous = relay.model_copy(update={"auth": None})
    timeouts = around.relay_timeouts()
    secrets = around.secrets
    if secrets is None:
        # Without a login the secrets are not asked for.
        if relay.auth is not None:
            found.skip(["secret"], "the policy cannot be read")
        return SmtpTarget(
            relay.host,
            relay.port,
            relay.tls,
            around.helo,
            source_address=relay.source_address,
            timeouts=timeouts,
        )
    try:
        target = smtp_target(relay, around.helo, timeouts, around.policy, secrets)
    except SecretError as error:
        secret_failed(found, str(error), _lacking(relay, around))
        return smtp_target(anonymous, around.helo, timeouts, around.policy, secrets)
    if relay.auth is not None:
        found.ok("secret", f"{relay.auth.secret} may go to {relay.host}:{relay.port}")
    return target


def _lacking(relay: Relay, around: Around) -> Rule | None:
    auth, clear = relay.auth, relay.tls is RelayTls.NONE
    if auth is None:
        return None
    return lacking(around.policy, auth.secret, relay.host, relay.port, in_the_clear=clear)


def _failed(found: Findings, step: str, greeting: Greeting) -> None:
    what = {
        "connect": advice.connecting,
        "smtp": advice.talking,
        "tls": advice.encrypting,
        "auth": advice.logging_in,
    }[step]
    seen = (greeting.detail or "it failed").removeprefix(f"{greeting.stage}: ")
    found.fail(step, seen, what(greeting.reason))


def _went_well(found: Findings, step: str, relay: Relay, greeting: Greeting, now_ns: int) -> None:
    if step == "connect":
        _connected(found, greeting)
    elif step == "smtp":
        banner = one_line(greeting.banner) if greeting.banner else "no banner"
        found.ok("smtp", f"{banner}; offers {offers(greeting)}")
    elif step == "tls":
        _encrypted(found, relay, greeting, now_ns)
    else:
        user = relay.auth.user if relay.auth else ""
        found.ok("auth", f"logged in as {user}")


def _connected(found: Findings, greeting: Greeting) -> None:
    seen = f"{greeting.peer} in {greeting.phases.get('connect', 0.0) * 1000:.0f} ms"
    if not greeting.attempts:
        found.ok("connect", seen)
        return
    failed = "; ".join(f"{each.address} {each.detail}" for each in greeting.attempts)
    found.warn(
        "connect",
        f"{seen}, after {failed}",
        "every canary loses that time first: mend the way to that address, or take it out of DNS",
    )


def _encrypted(found: Findings, relay: Relay, greeting: Greeting, now_ns: int) -> None:
    session = greeting.tls
    if session is not None:
        seen = f"{session.version}, {session.cipher}"
        judge_session(found, seen, session.not_after_ns, session.problem, now_ns)
    elif relay.tls is RelayTls.NONE:
        found.ok("tls", "none, as configured")
    else:
        found.warn(
            "tls",
            "STARTTLS is not offered, so canaries go in the clear",
            "enable STARTTLS on the relay, or say tls: none if that is meant",
        )


def offers(greeting: Greeting) -> str:
    """The extensions that matter here, as EHLO named them."""
    words = []
    if "starttls" in greeting.extensions:
        words.append("STARTTLS")
    if greeting.auth_methods:
        words.append(f"AUTH {' '.join(sorted(greeting.auth_methods)).upper()}")
    if "dsn" in greeting.extensions:
        words.append("DSN")
    if "size" in greeting.extensions:
        words.append(f"SIZE {greeting.extensions['size']}".strip())
    return ", ".join(words) or "nothing that is used here"
