"""Reading canaries back: when to look, what was found, and what it says."""
