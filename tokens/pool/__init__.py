"""The tokens in memory: which one is asked next, and the writing of their changed states."""
