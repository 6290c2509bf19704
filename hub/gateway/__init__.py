"""The HTTP side of the hub: canonical transactions, cases, mailboxes, health, the description of it all."""
