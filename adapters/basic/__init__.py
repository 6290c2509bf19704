"""Basic medical-insurance systems."""
