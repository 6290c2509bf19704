"""The hub on virtual time: the real handlers between a simulated store, broker, payers and hospitals.

One seed gives exactly one interleaving, with its faults; a failing seed is repeated and shrunk. Nothing here is real:
no thread, no socket, no clock of the machine, no randomness of the system.
"""
