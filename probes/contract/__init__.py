"""The vocabulary that agent, collector, dashboards and lab share.

Everything here parses text or computes; nothing reads a file, opens a socket or asks for the time.
"""
