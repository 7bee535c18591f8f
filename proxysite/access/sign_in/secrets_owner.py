"""What the secrets of authenticator apps are bound to when they are sealed."""

SECRETS_OWNER = "two factor"
