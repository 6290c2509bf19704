"""Claims, deductions and payments between institutions and payers; see `store.tables`."""

from __future__ import annotations
