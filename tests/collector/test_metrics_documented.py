"""Every metric that a collector serves stands in the docs, with its labels, and no other does."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from collector.control.principal import Kind
from tests.collector.documented import documented
from tests.collector.inside import collector
from tests.collector.web.servers import bearer


async def served(directory: Path) -> dict[str, set[str]]:
    """Each metric of a running collector; the labels of those that have samples."""
    async with collector(directory) as (parts, client, ann):
        # A request that was answered, and entries that were written and counted.
        _, token = await parts.tokens.create(Kind.AGENT, "sfo", who="test")
        async with client.get("/api/v1/agents/sfo", headers=bearer(token.reveal())):
            pass
        async with client.get("/metrics", headers=ann) as answer:
            text = await answer.text()
    found: dict[str, set[str]] = {}
    suffixes = {"counter": "_total"}
    for family in text_string_to_metric_families(text):
        # What prometheus-client adds of its own.
        if family.name.startswith("process_") or family.name.endswith("_created"):
            continue
        name = family.name + suffixes.get(family.type, "")
        found[name] = {
            label for sample in family.samples for label in sample.labels if label != "le"
        }
    return found


async def test_the_docs_list_what_is_served(tmp_path: Path) -> None:
    told, found = documented(), await served(tmp_path)
    assert sorted(told) == sorted(found)
    for name, labels in found.items():
        # A family without samples shows no labels.
        assert labels in (told[name], set()), name
