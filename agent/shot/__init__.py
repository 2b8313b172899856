"""One canary per path, now: for a person at a terminal, and for Nagios."""
