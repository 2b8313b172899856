"""What the collector knows beside the log: tokens, agents, the audit trail."""
