"""The collector's sub-commands of `mailcanary`."""
