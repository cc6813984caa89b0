"""Servers that stand in for others in tests: real ones, on loopback."""
