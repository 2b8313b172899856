"""What an agent looks at from its relay's side: rounds of probes, again and again."""
