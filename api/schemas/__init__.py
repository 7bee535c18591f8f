"""Request bodies: bytes to validated values."""
