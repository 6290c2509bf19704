"""A generated hospital day, settled for real against the sandbox's parties, and the proof that all books agree."""
