"""The owner to whom the secrets of authenticator apps are bound when they are sealed."""

SECRETS_OWNER = "two factor"
