"""What the owner of an API key may know of it: its usage and its requests."""
