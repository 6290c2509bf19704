"""The national institution interface: envelope, fields of each transaction, amount identities, code tables."""
