"""Back up everything that a gateway keeps into one file, and restore it."""
