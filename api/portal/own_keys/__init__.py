"""The API keys of the user: list, issue, rotate and revoke them."""
