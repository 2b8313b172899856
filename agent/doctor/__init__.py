"""Tries everything that a configuration names, from here, and says per item what to do."""
