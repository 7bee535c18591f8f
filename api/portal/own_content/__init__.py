"""The conversations and files of the user."""
