"""Settings from the environment: declared, validated, located. No Django in here."""
