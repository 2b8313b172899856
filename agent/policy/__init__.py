"""The agent's own policy: which secret may go where, and which hosts it may talk to."""
