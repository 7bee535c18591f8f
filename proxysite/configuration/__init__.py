"""Settings from environment variables: declared, checked, and located. No Django in here."""
