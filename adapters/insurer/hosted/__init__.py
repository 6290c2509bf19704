"""Products whose rules the hub carries: a payer like any other, in the hub's own database."""
