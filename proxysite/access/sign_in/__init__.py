"""The optional sign-in: OpenID Connect, and codes of an authenticator app.

Nothing here is imported unless OIDC_ISSUER or TWO_FACTOR switches it on.
"""
