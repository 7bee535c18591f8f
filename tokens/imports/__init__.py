"""The import of tokens and accounts from files."""
