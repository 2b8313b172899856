"""Access tokens that Dovecot checks itself: JSON web tokens (RFC 7519) with an HMAC-SHA256."""

import hashlib
import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

KEY = b"the key that signs the access tokens of these tests"


def access_token(user: str, expires_s: float) -> str:
    """A token for a mailbox's user that is good until then, in seconds since the Unix epoch."""
    header = _encoded({"alg": "HS256", "typ": "JWT"})
    claims = _encoded({"sub": user, "exp": int(expires_s)})
    signed = f"{header}.{claims}"
    signature = hmac.new(KEY, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64url(signature)}"


def write_settings(directory: Path) -> None:
    """Write what Dovecot's passdb `oauth2` needs, `oauth2.conf` and the key, below `directory`."""
    # Dovecot finds a key under the `azp`, the algorithm and the `kid` that the token names.
    key = directory / "keys" / "default" / "HS256" / "default"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_bytes(b64encode(KEY))
    (directory / "oauth2.conf").write_text(
        "introspection_mode = local\n"
        f"local_validation_key_dict = fs:posix:prefix={directory}/keys/\n"
        "username_attribute = sub\n"
    )


def _encoded(value: dict[str, object]) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(data: bytes) -> str:
    """As RFC 7515 wants it: without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()
