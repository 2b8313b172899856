"""The demo: an outage as it happens to a mail relay company, told in a minute."""
