"""Wiring: settings, addresses, the ASGI application, the server, Celery."""
