"""What ``mailcanary init`` writes as a beginning: the policy file, and a key to sign with."""

import secrets

POLICY_TEMPLATE = """\
# The agent's policy: which secret may go where, and which hosts customers may point it at.
# It is yours, the operator's: whatever the configuration asks for, the agent does nothing that
# is not allowed here. docs/secrets.md explains every word. Secrets' values never stand here.
version: 1

# The keys that sign canaries. To change the key, move the current one to previous and leave it
# there for as long as canaries are remembered (6d).
keys:
  current: {id: k1, secret: signing-key}
  # previous:
  #   - {id: k0, secret: signing-key-old}

# Where secrets are read from, in this order.
sources:
  directory: secrets          # one file per secret, mode 0600; beside this file, or absolute
  credentials: true           # systemd's LoadCredential=, when the agent runs under it
  environment: false          # MAILCANARY_SECRET_ACME__IMAP for acme/imap

# Each secret, and the only places that it may be sent to: host and port as in the configuration.
# Verified TLS is required unless `unverified: true` says otherwise.
secrets: []
# secrets:
#   - {secret: relay-a1, to: ["relay-a1.example.net:25"]}
#   - {secret: acme/imap, to: ["imap.acme.example:993"]}

# Addresses that hosts named by customers may have. Loopback, private, link-local and multicast
# networks are denied by default; allow makes exceptions.
addresses: {}
# addresses:
#   allow: [10.20.0.0/16]

# Certificates of your own authority (PEM), in place of the system's.
# ca_file: ca.pem
"""


def generate_key() -> str:
    """A new signing key: 256 random bits as one line of text, for a secret's file."""
    return secrets.token_urlsafe(32)
