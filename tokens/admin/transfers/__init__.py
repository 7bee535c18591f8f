"""The admin pages that import and export tokens."""
