"""Renewal of one token or of a provider's whole pool; new secrets survive a crash."""
