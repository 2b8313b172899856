"""The metrics of the IPPM RFCs, computed one canary at a time; ``docs/metrics-definitions.md``.

Nothing here asks for the time or keeps more than its documented bound. States are msgspec structs,
so that they can be written down as JSON and taken up again.
"""
