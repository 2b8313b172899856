"""How each relay and mailbox does, by what became of this agent's own canaries."""
