"""What happens when a home is used for the first time."""
