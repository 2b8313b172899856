"""An agent in a process of its own that may open few files, given more work while it is at it.

``python -m tests.agent.few_files STATE`` prints, as JSON, how many files more than it may open each
warning of it asked for. In the test's own process the limit could not be put back: only root may
raise a hard one.
"""

import asyncio
import json
import resource
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from agent.assignment import assign
from agent.caps import Caps
from lab.estate import Estate
from probes.contract.config.models import Config
from tests.agent.labs import LIMITS, Seen, flying

FILES = 256
"""Enough for the lab and the agent, both in this process."""


async def warnings_of(state: Path) -> list[int]:
    """Fly as it is, then by the same again, by one mailbox more, and by that again."""
    async with Estate(["relay-a1"], ["acme/inbox"]) as lab:
        document = lab.config_document()
        grown = deepcopy(document)
        boxes = grown["customers"][0]["mailboxes"]
        boxes.append({**boxes[0], "name": "other", "address": "other@home.test"})
        limits = replace(LIMITS, caps=Caps(sending=FILES))
        with capture_logs() as logs:
            async with flying(lab, state, Seen(), limits=limits, document=document) as agent:
                for new in (document, grown, grown):
                    agent.reassign(assign(Config.model_validate(new)))
    return [line["wanted"] - FILES for line in logs if "too few open files" in line["event"]]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    json.dump(asyncio.run(warnings_of(Path(sys.argv[1]))), sys.stdout)
