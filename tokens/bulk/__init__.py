"""Actions on many tokens: check, reset, enable, disable, move; in slices, with progress."""
