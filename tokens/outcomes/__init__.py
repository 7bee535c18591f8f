"""The effects of an upstream's answer or error on its token and its provider."""
