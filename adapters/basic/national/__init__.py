"""Client towards regions with the national interface: one JSON envelope, many transactions."""
