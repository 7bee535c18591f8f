"""Periodic and manual checks of tokens, and the model lists of upstreams."""
