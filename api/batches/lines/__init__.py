"""The lines of a batch: read, checked, sent, and their results written."""
