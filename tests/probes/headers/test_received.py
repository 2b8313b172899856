"""Received fields one by one; whole chains are in ``test_samples.py``."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from probes.headers.received import MAX_HOPS, Received, parse_received, parse_received_field

DATE = "Mon, 5 Jan 2026 10:00:00 +0000"
AT_NS = 1_767_607_200_000_000_000


def read(text: str) -> Received:
    return parse_received_field(f"{text}; {DATE}")


def test_all_clauses_of_a_postfix_field() -> None:
    assert read(
        "from helo.example (name.example [192.0.2.5])\n\t(using TLSv1.3 with cipher X (256/256"
        " bits))\n\tby mx.example. (Postfix) with UTF8SMTPSA id 4T8pXk\n\tfor <a@b.example>"
    ) == Received(
        name="helo.example",
        helo="helo.example",
        address="192.0.2.5",
        by="mx.example",
        protocol="UTF8SMTPSA",
        id="4T8pXk",
        recipient="a@b.example",
        tls="TLSv1.3",
        at_ns=AT_NS,
    )


@pytest.mark.parametrize(
    ("client", "helo", "address"),
    [
        ("h.example (unknown [IPv6:2001:DB8:0::1])", "h.example", "2001:db8::1"),
        ("h.example (unknown [::ffff:192.0.2.5])", "h.example", "192.0.2.5"),
        ("h.example ([192.0.2.5]:4711 helo=x)", "x", "192.0.2.5"),
        ("r.example ([192.0.2.5] helo=[192.0.2.66])", "192.0.2.66", "192.0.2.5"),
        ("r.example (helo=[192.0.2.66] [192.0.2.5])", "192.0.2.66", "192.0.2.5"),
        ("[192.0.2.5] (helo=x.example ident=me)", "x.example", "192.0.2.5"),
        ("[192.0.2.66] (unknown [192.0.2.5])", "192.0.2.66", "192.0.2.5"),
        ("h.example (192.0.2.5)", "h.example", "192.0.2.5"),
        ("h.example (2001:db8::5%eth0)", "h.example", "2001:db8::5"),
        ("unknown (HELO h.example) (192.0.2.5)", "h.example", "192.0.2.5"),
        ("unknown (EHLO h.example) ([192.0.2.5])", "h.example", "192.0.2.5"),
        ("h.example (me@192.0.2.5)", "h.example", "192.0.2.5"),
        ("h.example (IDENT:me@r.example [192.0.2.5] (may be forged))", "h.example", "192.0.2.5"),
        ("h.example (nothing of use)", "h.example", None),
        ("h.example ([not an address])", "h.example", None),
        ("h.example ()", "h.example", None),
        ("h.example", "h.example", None),
    ],
)
def test_who_connected(client: str, helo: str, address: str | None) -> None:
    received = read(f"from {client} by mx.example with ESMTP")

    assert (received.helo, received.address, received.by) == (helo, address, "mx.example")


def test_a_bare_literal_is_the_peer_with_exim_only() -> None:
    """Elsewhere it is what the client said of itself."""
    exim = read("from [192.0.2.5] by mx.example with esmtp (Exim 4.96)")
    other = read("from [192.0.2.5] by mx.example with ESMTP")

    assert (exim.address, other.address) == ("192.0.2.5", None)
    assert other.helo == "192.0.2.5"


def test_only_the_first_comment_tells_the_peer() -> None:
    """Later ones hold what the client chose: certificate names, login names."""
    received = read(
        'from h.example (r.example) (Client CN "[192.0.2.66]") by mx.example with ESMTPS'
    )

    assert received.address is None


def test_a_local_user_is_no_host() -> None:
    received = read("from root by mx.example with local (Exim 4.96) id 1tUGko")

    assert (received.name, received.helo, received.id) == ("root", None, "1tUGko")


def test_a_clause_word_as_a_value() -> None:
    received = read("from by (with [192.0.2.5]) by from with id id for for for")

    assert received.helo == "by"
    assert (received.by, received.protocol, received.id) == ("from", "id", "for")


@pytest.mark.parametrize(
    ("text", "tls"),
    [
        ("by m (using TLSv1.2 with cipher X (256/256 bits)) with ESMTPS", "TLSv1.2"),
        ("by m with esmtps (TLS1.3) tls TLS_AES_256_GCM_SHA384 (Exim 4.96)", "TLSv1.3"),
        ("by m with esmtps (TLSv1:DHE-RSA-AES256-SHA:256) (Exim 4.76)", "TLSv1"),
        ("by m with ESMTPS id 1 (version=TLS1_3 cipher=TLS_AES bits=256/256)", "TLSv1.3"),
        ("by m with Microsoft SMTP Server (version=TLS1_0, cipher=X) id 15", "TLSv1"),
        ("by m with Microsoft SMTP Server (TLS) id 14.3", "yes"),
        ("by m with ESMTPS id 1 (version=SSLv3 cipher=X)", "SSLv3"),
        ("by m with ESMTPS", "yes"),
        ("by m with LMTPSA", "yes"),
        ("by m with utf8smtps", "yes"),
        ("by m with (AES256-SHA encrypted) SMTP", "yes"),
        ("by m with ESMTP id 1 tls TLS_AES_256_GCM_SHA384", "yes"),
        ("by m with ESMTP", None),
        ("by m with ESMTPA", None),
        ("by m with HTTPS", None),
        ('by m (Client CN "TLS1.3", Issuer "TLSv1.3") with ESMTP', None),
        ("from tls.example (tls1.example [192.0.2.5]) by m with SMTP", None),
    ],
)
def test_tls_is_told_only_where_it_is_stated(text: str, tls: str | None) -> None:
    assert read(text).tls == tls


@pytest.mark.parametrize(
    ("text", "protocol"),
    [
        ("by m with esmtpsa", "ESMTPSA"),
        ("by m via Frontend Transport with Microsoft SMTP Server id 1", "Microsoft SMTP Server"),
        ("by m with HTTPREST", "HTTPREST"),
        ("by m with", None),
        ("by m", None),
    ],
)
def test_protocol(text: str, protocol: str | None) -> None:
    assert read(text).protocol == protocol


@pytest.mark.parametrize(
    "text",
    [
        f"by m (a;b); {DATE}",
        f"by m; {DATE} (a;b)",
        f"by m (no end; {DATE}",
        f'by m "no end; {DATE}',
        f";;; {DATE}",
        f"{'x' * 100_000}; {DATE}",
    ],
)
def test_the_date_is_found_at_the_end(text: str) -> None:
    assert parse_received_field(text).at_ns == AT_NS


@pytest.mark.parametrize("text", ["", ";", "(", ")", '"', "from", "from by", "\x00\ud800", "; x"])
def test_garbage_tells_nothing_and_raises_nothing(text: str) -> None:
    received = parse_received_field(text)

    assert (received.address, received.at_ns, received.tls) == (None, None, None)


def test_text_is_fit_for_events() -> None:
    received = read(f"from \x1b[31mred\ud800 by {'h' * 1000} with \x07SMTP id \x00")

    assert (received.helo, received.protocol, received.id) == ("?[31mred?", "?SMTP", "?")
    assert received.by == "h" * 255


def test_delays_between_hops_and_skewed_clocks() -> None:
    hops = parse_received(
        [
            "by d; Mon, 5 Jan 2026 10:00:02.250 +0000",
            "by c",
            "by b; Mon, 5 Jan 2026 04:59:58 EST",
            "by a; Mon, 5 Jan 2026 11:00:00 +0100",
        ]
    )

    assert [hop.by for hop in hops] == ["a", "b", "c", "d"]
    assert [hop.delay_s for hop in hops] == [None, -2.0, None, None]
    assert [hop.skewed for hop in hops] == [False, True, False, False]
    assert hops[3].at_ns == AT_NS + 2_250_000_000


def test_of_too_many_hops_those_nearest_to_the_mailbox_are_kept() -> None:
    hops = parse_received([f"by h{number}" for number in range(MAX_HOPS + 50)])

    assert len(hops) == MAX_HOPS
    assert (hops[0].by, hops[-1].by) == (f"h{MAX_HOPS - 1}", "h0")


@given(
    st.lists(
        st.sampled_from(
            [
                *("from", "by", "with", "id", "ID", "for", "tls", "h.example", "4T8pXk", "<any>"),
                *("(unknown [192.0.2.5])", "(TLSv1.3 (256/256 bits) id x)", "(helo=y", ")", "("),
                *(";", '"', '"id z"', "\\", "\\)", "é", f"; {DATE}", f"; {DATE} (UTC)"),
            ]
        ),
        max_size=14,
    ),
    st.sampled_from([" ", "\t", "\n\t", ""]),
)
@example(["by", "id", "4T8pXk", f"; {DATE}"], " ")
@example(["(", "id", "4T8pXk", ")", "by", "h.example", f"; {DATE}"], " ")
@example(["id", "<any>", "with", "id", "x", f"; {DATE}"], " ")
def test_what_is_remembered_of_a_field_is_what_stands_in_it(words: list[str], space: str) -> None:
    field = space.join(words)

    # White space says nothing, and a field of that length is not remembered.
    assert parse_received_field(field) == parse_received_field(" " * 1000 + field)


def test_the_same_field_of_another_mail_has_its_own_id_and_date() -> None:
    one = "from h (h [192.0.2.5]) by r (Postfix) with ESMTP id 1A for <a@b.c>"
    another = one.replace("1A", "2B")

    assert (read(one).id, read(another).id) == ("1A", "2B")
    assert (read(another).helo, read(another).by, read(another).at_ns) == ("h", "r", AT_NS)
    assert parse_received_field(f"{another}; Mon, 5 Jan 2026 10:00:01 +0000").at_ns == AT_NS + 10**9
