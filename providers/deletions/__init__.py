"""Delete rows that many other rows depend on, in slices and in the background."""
