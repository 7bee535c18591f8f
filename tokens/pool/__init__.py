"""The tokens in memory: which one is used next, and the writing of their changed states."""
