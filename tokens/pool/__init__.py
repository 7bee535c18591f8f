"""The tokens in memory: which one is asked next, and how its state reaches the database."""
