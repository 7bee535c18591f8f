"""The export of tokens and accounts with their secrets."""
