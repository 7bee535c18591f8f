"""The command `doctor`: whether everything that the gateway needs is there, and what to do."""
