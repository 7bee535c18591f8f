"""Usage: the roll-ups of usage records, and the answers that are read from them."""
