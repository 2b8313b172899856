"""IMAP read-back: one folder over one connection, which never stalls and never falsifies."""

from probes.imap.model import (
    AddressPolicy,
    Batch,
    FolderState,
    ImapFailure,
    ImapStage,
    ImapTarget,
    Message,
)
from probes.imap.session import FolderSession

__all__ = [
    "AddressPolicy",
    "Batch",
    "FolderSession",
    "FolderState",
    "ImapFailure",
    "ImapStage",
    "ImapTarget",
    "Message",
]
