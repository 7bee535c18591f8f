"""Set-up of clients, and the models that the user may use."""
