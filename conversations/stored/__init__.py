"""What users read, change and delete of their conversations."""
