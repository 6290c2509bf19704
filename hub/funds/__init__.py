"""Settling advanced money between institutions and payers: apply, audit, pay, confirm, by month and by year."""
