"""One canary, one fresh SMTP connection, one attempt: each phase timed, every failure named."""

from probes.smtp.dial import Endpoint, Resolve, resolve
from probes.smtp.model import Mail, SendReport, SmtpTarget
from probes.smtp.submit import send

__all__ = ["Endpoint", "Mail", "Resolve", "SendReport", "SmtpTarget", "resolve", "send"]
