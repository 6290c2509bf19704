"""Speaks to the parties: one folder per kind of party and dialect. Of ours it imports the words (`schemas`) only."""
