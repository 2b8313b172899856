"""The configuration: its models, its reader with line numbers, its checks."""
