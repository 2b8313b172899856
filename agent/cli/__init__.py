"""Commands of the ``mailcanary`` front door that belong to the agent, one module each."""
