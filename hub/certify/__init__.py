"""Certifying a partner: a run through the contract with made-up claims, and a report of what was said."""
