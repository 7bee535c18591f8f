"""Prices of upstream models, and the costs of requests computed from them."""
