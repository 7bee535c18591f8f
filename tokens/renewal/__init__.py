"""Renew tokens: one, or a provider's whole pool; new secrets survive a crash."""
