"""Queue ids as the relays of this world name them."""

import pytest

from probes.smtp.queue_id import queue_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.0.0 Ok: queued as 3F1A2B4C5D", "3F1A2B4C5D"),
        ("2.0.0 Ok: queued as 4VxYzB0q9cz9sSw", "4VxYzB0q9cz9sSw"),
        ("2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 9A8B7C", "9A8B7C"),
        ("Ok: queued as bZx3kqYbT0aW-1_fGhQ", "bZx3kqYbT0aW-1_fGhQ"),
        ("OK id=1aBcDe-0001Xy-2Z", "1aBcDe-0001Xy-2Z"),
        ("OK id=1rKq7e-00000000abc-1XyZ", "1rKq7e-00000000abc-1XyZ"),
        ("2.0.0 45GKx0Ab012345 Message accepted for delivery", "45GKx0Ab012345"),
        ("2.0.0: 8a3f2b1c Message accepted for delivery", "8a3f2b1c"),
        ("2.0.0 8a3f2b1c Message accepted for delivery", "8a3f2b1c"),
        (
            "2.6.0 <c1@monitor.example> [InternalId=123456789, Hostname=a.example] Queued mail",
            "123456789",
        ),
        (
            "2.0.0 OK  1718000000 d9443c01a7336-1f6f2b1c2d3si12345.67 - gsmtp",
            "d9443c01a7336-1f6f2b1c2d3si12345.67",
        ),
        ("2.0.0 OK DMARC:Quarantine 1718000000 ab12si34.5 - gsmtp", "ab12si34.5"),
        (
            "Message Queued (9C1B6E1D-1B9E-4F4B-9C0D-0A1B2C3D4E5F.1)",
            "9C1B6E1D-1B9E-4F4B-9C0D-0A1B2C3D4E5F.1",
        ),
        (
            "Ok. 00000000000101AB.00000000526D2AE0.00007A4F",
            "00000000000101AB.00000000526D2AE0.00007A4F",
        ),
        (
            "Ok 0100018f2b1c2d3e-0a1b2c3d-4e5f-6789-abcd-ef0123456789-000000",
            "0100018f2b1c2d3e-0a1b2c3d-4e5f-6789-abcd-ef0123456789-000000",
        ),
        ("ok 1718000000 qp 12345", "12345"),
        ("", None),
        ("OK", None),
        ("2.0.0 Ok", None),
        ("2.0.0 Message accepted for delivery", None),
        ("Message accepted for delivery", None),
        ("2.0.0 Ok: queued as ", None),
        (f"2.0.0 Ok: queued as {'A' * 500}", None),
    ],
)
def test_queue_id(text: str, expected: str | None) -> None:
    assert queue_id(text) == expected
