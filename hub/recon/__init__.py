"""Reconciliation: statements in and out, runs, breaks and remedies, seals, reports. The ledger: `store.ledger`."""
