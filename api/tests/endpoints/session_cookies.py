"""Sessions of people who have signed in at the admin."""

from django.test import Client


def sign_in(user):
    """Sign a user in; return the value of the session's cookie."""
    client = Client()
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client.cookies["sessionid"].value
