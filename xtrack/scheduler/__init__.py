"""The scheduler of the system."""
