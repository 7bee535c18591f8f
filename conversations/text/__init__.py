"""Text of files: extract it, split it, and estimate its words and tokens."""
