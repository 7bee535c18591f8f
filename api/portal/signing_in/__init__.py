"""Log in and out, join by an invitation, sign up, and change the password."""
