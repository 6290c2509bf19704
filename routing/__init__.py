"""The pure core: who pays in which order, the life of a case and of a leg, what comes next.

No clock, no network, no store: everything comes in as values and goes out as values.
"""
