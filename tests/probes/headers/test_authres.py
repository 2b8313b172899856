import pytest

from probes.contract.events import AuthResults
from probes.headers.authres import authentication_results, parse_authentication_results

MX = "mx.acme.example"


@pytest.mark.parametrize(
    ("text", "results"),
    [
        (f"{MX}; none", []),
        (f"{MX} 1; none", []),
        (MX, []),
        (f"{MX}; spf=pass smtp.mailfrom=a@b.example", [("spf", "pass")]),
        (f"{MX}; spf=pass; dkim=fail;", [("spf", "pass"), ("dkim", "fail")]),
        (f" (c) {MX} (d) 1 (e) ; (f) SPF (g) = (h) PASS (i)", [("spf", "pass")]),
        (f"{MX}; dkim / 1 = pass header . d = b.example", [("dkim", "pass")]),
        (f'"{MX}"; dkim=pass reason="spf=fail; dmarc=fail"', [("dkim", "pass")]),
        (f"{MX}; dkim=pass (spf=fail; (dmarc=fail)\\) ;)", [("dkim", "pass")]),
        (f'{MX}; spf=pass smtp.mailfrom="a;\\" dkim=pass"@b.example', [("spf", "pass")]),
        (f"{MX}; dkim=pass header.b=a/b+c=; dmarc=pass", [("dkim", "pass"), ("dmarc", "pass")]),
        (f"{MX}; iprev=pass policy.iprev=2001:db8::1", [("iprev", "pass")]),
        (f"{MX}; dmarc=pass action=none header.from=b.example", [("dmarc", "pass")]),
        (f"{MX};\n dkim=pass\n\tspf=fail smtp.mailfrom=x", [("dkim", "pass"), ("spf", "fail")]),
        (f"{MX}; x-own/1=some-thing; spf=pass", [("x-own", "some-thing"), ("spf", "pass")]),
        (f"{MX} 2; spf=pass", []),
        (f"{MX}; dkim/2=pass; spf=pass", [("spf", "pass")]),
        (f"{MX}; spf=; dkim==pass; =pass; dmarc=p@ss; spf", []),
    ],
)
def test_grammar(text: str, results: list[tuple[str, str]]) -> None:
    parsed = parse_authentication_results(text)

    assert parsed is not None
    assert parsed.authserv_id == MX
    assert [(result.method, result.result) for result in parsed.results] == results


def test_properties() -> None:
    parsed = parse_authentication_results(
        f'{MX}; dkim=pass reason="good key" header . d = b.example. header.s=s1 header.b="a/b=="'
    )

    assert parsed is not None
    assert parsed.results[0].properties == {
        "reason": "good key",
        "header.d": "b.example.",
        "header.s": "s1",
        "header.b": "a/b==",
    }


@pytest.mark.parametrize(
    "text", ["", ";", "; spf=pass", "(only) (comments)", "spf=pass; dkim=pass"]
)
def test_a_field_without_an_id_is_nobodys(text: str) -> None:
    assert parse_authentication_results(text) is None
    assert authentication_results([text], MX) is None


def test_without_a_configured_id_nothing_counts() -> None:
    assert authentication_results([f"{MX}; spf=pass"], None) is None


def test_ids_compare_without_case_and_not_by_part() -> None:
    assert authentication_results(["MX.acme.EXAMPLE; spf=pass"], "mx.ACME.example") == AuthResults(
        spf="pass"
    )
    for other in ("acme.example", f"x.{MX}", f"{MX}.evil.example", f"{MX}/1", f"{MX}x"):
        assert authentication_results([f"{other}; spf=pass"], MX) is None


def test_forged_fields_count_nothing_above_or_below() -> None:
    forged = "forged.example; spf=fail; dkim=fail; dmarc=fail"

    assert authentication_results([forged, f"{MX}; spf=pass", forged], MX) == AuthResults(
        spf="pass"
    )


def test_the_topmost_field_that_has_a_method_wins() -> None:
    fields = [f"{MX}; dkim=fail", f"{MX}; spf=pass; dkim=pass", f"{MX}; spf=fail; dmarc=none"]

    assert authentication_results(fields, MX) == AuthResults(spf="pass", dkim="fail", dmarc="none")


def test_no_authentication_done_differs_from_no_field() -> None:
    assert authentication_results([f"{MX}; none"], MX) == AuthResults()
    assert authentication_results([], MX) is None


def test_one_good_signature_of_several_is_enough() -> None:
    assert authentication_results([f"{MX}; dkim=fail; dkim=pass; dkim=none"], MX) == AuthResults(
        dkim="pass"
    )
    assert authentication_results([f"{MX}; dkim=fail; dkim=none"], MX) == AuthResults(dkim="fail")


def test_spf_of_mail_from_goes_before_that_of_helo() -> None:
    text = f"{MX}; spf=none smtp.helo=h.example; spf=pass smtp.mailfrom=b.example"

    assert authentication_results([text], MX) == AuthResults(spf="pass")
