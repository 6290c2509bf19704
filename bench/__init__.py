"""Reproducible measurements: the hub beside a bare floor and beside other frameworks, in one run on one machine."""
