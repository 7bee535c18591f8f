"""Invitations: make a link, and create the account of somebody who uses it."""
