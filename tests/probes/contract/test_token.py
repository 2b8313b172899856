"""The token: survives relays, and nothing but the exact token of ours is genuine."""

import pickle
import string
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from probes.contract.errors import TokenError
from probes.contract.names import Path, is_name
from probes.contract.secret import Secret
from probes.contract.token import (
    MAX_LENGTH,
    Judgement,
    Key,
    KeyRing,
    Token,
    judge,
    parse_token,
    write_token,
)

KEY = Key("sfo-1", Secret("correct horse battery staple", "sfo-key"))
OLD_KEY = Key("sfo-0", Secret("an older key of 16+ bytes"))
RING = KeyRing(KEY, (OLD_KEY,))
SENT_NS = 1_760_000_000_003_400_000
REMEMBER_S = 6 * 86400.0
TOKEN = Token(
    canary="5f2b7c1d9e8a40b3a6d4c2f10b9e7d35",
    path=Path("sfo", "relay-a1", "acme/inbox"),
    stream_epoch="k3v9x0q2",
    path_seq=1042,
    mailbox_seq=20931,
    sent_ns=SENT_NS,
)
VALUE = write_token(TOKEN, KEY)

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True)
TOKENS = st.builds(
    Token,
    canary=st.text("0123456789abcdef", min_size=32, max_size=32),
    path=st.builds(
        lambda agent, relay, customer, box: Path(agent, relay, f"{customer}/{box}"),
        NAMES, NAMES, NAMES, NAMES,
    ),
    stream_epoch=st.text(string.digits + string.ascii_lowercase, min_size=1, max_size=32),
    path_seq=st.integers(0, 2**63 - 1),
    mailbox_seq=st.integers(0, 2**63 - 1),
    sent_ns=st.integers(0, 2**63 - 1),
)  # fmt: skip
KEYS = st.builds(
    Key,
    st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    st.text(st.characters(codec="utf-8"), min_size=16, max_size=64).map(Secret),
)


def judged(value: str, **changes: Any) -> Judgement:
    """The judgement on ``value`` one minute after it was sent, in its own mailbox."""
    asked: dict[str, Any] = {
        "ring": RING,
        "agent": "sfo",
        "mailbox": "acme/inbox",
        "now_ns": SENT_NS + 60 * 10**9,
        "remember_s": REMEMBER_S,
    }
    return judge(value, **{**asked, **changes})[0]


def test_the_form_of_a_token() -> None:
    """The HMAC is what ``openssl dgst -sha256 -hmac`` says of all before the last semicolon."""
    written = (
        "v=1; id=5f2b7c1d9e8a40b3a6d4c2f10b9e7d35; a=sfo; r=relay-a1; m=acme/inbox; e=k3v9x0q2; "
        "n=1042; s=20931; t=1760000000003400000; k=sfo-1; "
        "h=KmGMNn_-iiOXqvpU3viikGNd0lao7GIowbs0WJL6mT4"
    )
    assert written == VALUE


@given(TOKENS, KEYS)
def test_round_trip(token: Token, key: Key) -> None:
    value = write_token(token, key)
    assert len(value) <= MAX_LENGTH
    parsed, key_id, _ = parse_token(value)
    assert (parsed, key_id) == (token, key.id)
    judgement, told = judge(
        value,
        KeyRing(key),
        agent=token.path.agent,
        mailbox=token.path.mailbox,
        now_ns=token.sent_ns,
        remember_s=1.0,
    )
    assert (judgement, told) == (Judgement.GENUINE, token)


@pytest.mark.parametrize(
    "refold",
    [
        lambda value: value.replace("; ", ";\r\n "),
        lambda value: value.replace("; ", ";\r\n\t"),
        lambda value: value.replace("; ", ";"),
        lambda value: value.replace("; ", ";  \t "),
        lambda value: f" {value}\r\n",
        lambda value: value[:60] + "\r\n " + value[60:],
        lambda value: value.replace("; ", " ; ").replace("=", " = "),
        "\n ".join,
    ],
)
def test_folding_and_unfolding_changes_nothing(refold: Any) -> None:
    assert judge(
        refold(VALUE),
        RING,
        agent="sfo",
        mailbox="acme/inbox",
        now_ns=SENT_NS,
        remember_s=REMEMBER_S,
    ) == (Judgement.GENUINE, TOKEN)


NOT_OURS = {Judgement.FOREIGN, Judgement.MALFORMED, Judgement.FORGED}
FOLDING_SPACE = str.maketrans("", "", " \t\r\n")


def same_but_for_folding(value: str) -> bool:
    return value.translate(FOLDING_SPACE) == VALUE.translate(FOLDING_SPACE)


def test_no_alteration_of_one_character_is_genuine() -> None:
    for at in range(len(VALUE)):
        for character in string.printable:
            for rest in (VALUE[at + 1 :], VALUE[at:]):  # in its place, and before it
                altered = VALUE[:at] + character + rest
                if not same_but_for_folding(altered):
                    assert judged(altered) in NOT_OURS, altered
        if VALUE[at] != " ":
            assert judged(VALUE[:at] + VALUE[at + 1 :]) in NOT_OURS


@given(st.integers(0, len(VALUE) - 1), st.characters())
@example(VALUE.index("n=") + 1, "\N{ARABIC-INDIC DIGIT ONE}")
@example(VALUE.index("; ") + 1, "\N{NO-BREAK SPACE}")
@example(len(VALUE) - 1, "\udcff")
def test_no_character_of_any_script_in_place_of_another_is_genuine(at: int, character: str) -> None:
    altered = VALUE[:at] + character + VALUE[at + 1 :]
    if not same_but_for_folding(altered):
        assert judged(altered) in NOT_OURS


@given(TOKENS)
def test_no_other_token_with_this_signature_is_genuine(token: Token) -> None:
    if token != TOKEN:
        head, _, _ = write_token(token, KEY).rpartition("; h=")
        forged = f"{head}; h={VALUE.rpartition('; h=')[2]}"
        assert judged(forged, agent=token.path.agent, mailbox=token.path.mailbox) is (
            Judgement.FORGED
        )


@pytest.mark.parametrize(
    "change",
    [
        {"canary": "0" * 32},
        {"path": Path("sfo", "relay-b1", "acme/inbox")},
        {"path": Path("sfo", "relay-a1", "globex/inbox")},
        {"stream_epoch": "other"},
        {"path_seq": 1043},
        {"mailbox_seq": 20930},
        {"sent_ns": SENT_NS + 1},
    ],
)
def test_the_signature_covers_every_field(change: dict[str, Any]) -> None:
    other = write_token(msgspec.structs.replace(TOKEN, **change), KEY).rpartition("; h=")[0]
    assert judged(f"{other}; h={VALUE.rpartition('; h=')[2]}") is Judgement.FORGED


@given(st.text())
def test_any_text_is_judged_without_an_exception(text: str) -> None:
    assert judged(text) in NOT_OURS


class TestKeys:
    def test_the_previous_key_still_verifies(self) -> None:
        assert judged(write_token(TOKEN, OLD_KEY)) is Judgement.GENUINE

    def test_a_key_that_is_no_longer_kept_is_foreign(self) -> None:
        assert judged(write_token(TOKEN, OLD_KEY), ring=KeyRing(KEY)) is Judgement.FOREIGN

    def test_another_secret_under_a_known_id_is_a_forgery(self) -> None:
        guess = Key(KEY.id, Secret("guessed horse battery staple"))
        assert judged(write_token(TOKEN, guess)) is Judgement.FORGED

    def test_the_id_of_another_key_of_ours_is_a_forgery(self) -> None:
        assert judged(VALUE.replace("k=sfo-1", "k=sfo-0")) is Judgement.FORGED

    def test_the_ring_finds_current_and_previous_keys(self) -> None:
        assert RING.find("sfo-1") is KEY
        assert RING.find("sfo-0") is OLD_KEY
        assert RING.find("sfo-2") is None

    @pytest.mark.parametrize("secret", ["", "x" * 15, "é" * 7])
    def test_a_short_secret_is_refused_and_not_shown(self, secret: str) -> None:
        with pytest.raises(ValueError, match="at least 16 bytes") as caught:
            Key("sfo-1", Secret(secret))
        assert not secret or secret not in str(caught.value)

    @pytest.mark.parametrize("secret", ["x" * 16, "é" * 8])
    def test_sixteen_bytes_are_enough(self, secret: str) -> None:
        assert Key("sfo-1", Secret(secret)).secret.reveal() == secret

    @pytest.mark.parametrize("key_id", ["", "a b", "a;b", "a=b", "x" * 65, "é", "a\n"])
    def test_a_bad_key_id_is_refused(self, key_id: str) -> None:
        with pytest.raises(ValueError, match="key id") as caught:
            Key(key_id, KEY.secret)
        assert KEY.secret.reveal() not in str(caught.value)

    @pytest.mark.parametrize("thing", [KEY, RING], ids=["key", "ring"])
    def test_the_secret_never_shows(self, thing: Key | KeyRing) -> None:
        assert KEY.secret.reveal() not in f"{thing} {thing!r} {[thing]}"
        with pytest.raises(TypeError) as caught:
            pickle.dumps(thing)
        assert KEY.secret.reveal() not in str(caught.value)
        with pytest.raises(TypeError):
            msgspec.json.encode(thing)


class TestReplays:
    def test_in_another_mailbox(self) -> None:
        assert judged(VALUE, mailbox="globex/inbox") is Judgement.REPLAYED

    @pytest.mark.parametrize(
        ("age_ns", "judgement"),
        [
            (-(10**18), Judgement.GENUINE),
            (0, Judgement.GENUINE),
            (round(REMEMBER_S * 1e9), Judgement.GENUINE),
            (round(REMEMBER_S * 1e9) + 1, Judgement.REPLAYED),
        ],
    )
    def test_by_age(self, age_ns: int, judgement: Judgement) -> None:
        assert judged(VALUE, now_ns=SENT_NS + age_ns) is judgement

    def test_a_forgery_that_is_old_or_misplaced_is_a_forgery(self) -> None:
        forged = VALUE.replace("n=1042", "n=1043")
        assert judged(forged, mailbox="globex/inbox") is Judgement.FORGED
        assert judged(forged, now_ns=2 * SENT_NS) is Judgement.FORGED

    def test_the_token_is_told(self) -> None:
        assert judge(
            VALUE, RING, agent="sfo", mailbox="globex/inbox", now_ns=SENT_NS, remember_s=1.0
        ) == (Judgement.REPLAYED, TOKEN)


def test_another_agents_canary_is_foreign_even_with_our_key() -> None:
    assert judged(VALUE, agent="fra") is Judgement.FOREIGN
    assert judged(VALUE, agent="fra", mailbox="globex/inbox") is Judgement.FOREIGN


FIELDS = dict(part.split("=", 1) for part in VALUE.split("; "))


def value_with(**changes: str | None) -> str:
    fields: dict[str, str | None] = {**FIELDS, **changes}
    return "; ".join(f"{name}={text}" for name, text in fields.items() if text is not None)


MALFORMED = {
    "empty": "",
    "blank": " \r\n ",
    "no fields": "hello",
    "one field": "v=1",
    "trailing semicolon": VALUE + ";",
    "twice": f"{VALUE}; {VALUE}",
    "reversed": "; ".join(reversed(VALUE.split("; "))),
    "upper-case names": VALUE.replace("id=", "ID="),
    "further field": VALUE + "; z=1",
    **{f"without {name}": value_with(**{name: None}) for name in FIELDS},
    **{f"empty {name}": value_with(**{name: ""}) for name in FIELDS},
    **{f"bad {name}={text[:12]}": value_with(**{name: text}) for name, text in [
        ("v", "2"), ("v", "01"), ("id", "5F2B7C1D9E8A40B3A6D4C2F10B9E7D35"), ("id", "5f2b"),
        ("a", "SFO"), ("a", "sfo-"), ("a", "x" * 64), ("r", "relay/a1"), ("m", "inbox"),
        ("m", "acme/"), ("m", "/inbox"), ("m", "acme/in/box"), ("e", "K3"), ("e", "x" * 33),
        ("n", "-1"), ("n", "+1"), ("n", "01042"), ("n", "1e3"), ("n", "1_0"), ("n", "٣"),
        ("s", "1.0"), ("t", "1" * 20), ("k", "a/b"), ("k", "x" * 65),
        ("h", "short"), ("h", "=" * 43), ("h", "a" * 44), ("h", "é" * 43),
    ]},
}  # fmt: skip


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_malformed(value: str) -> None:
    assert judged(value) is Judgement.MALFORMED
    with pytest.raises(TokenError) as caught:
        parse_token(value)
    assert len(str(caught.value)) < 1500


def test_the_error_names_the_bad_fields() -> None:
    with pytest.raises(TokenError, match="bad field a='SFO', n='x'"):
        parse_token(value_with(a="SFO", n="x"))


@pytest.mark.parametrize("padding", [" ", "x", ";"])
def test_an_over_long_value_is_refused_by_its_length(padding: str) -> None:
    assert judged(VALUE.ljust(MAX_LENGTH, " ")) is Judgement.GENUINE
    value = VALUE.ljust(MAX_LENGTH + 1, padding)
    assert judged(value) is Judgement.MALFORMED
    with pytest.raises(TokenError, match=f"{MAX_LENGTH + 1} characters: allowed are {MAX_LENGTH}"):
        parse_token(value)


def test_the_longest_token_fits_with_room_for_folding() -> None:
    name = "x" * 63
    assert is_name(name)
    longest = Token("f" * 32, Path(name, name, f"{name}/{name}"), "z" * 32, *[10**19 - 1] * 3)
    assert len(write_token(longest, replace(KEY, id="k" * 64))) <= MAX_LENGTH - 200
