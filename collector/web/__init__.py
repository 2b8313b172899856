"""The collector's HTTP server, and the handlers of all its routes."""
