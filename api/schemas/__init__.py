"""Request bodies: from bytes to validated values."""
