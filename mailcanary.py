"""mailcanary's front door: the ``mailcanary`` command."""

__version__ = "0.1.0"
