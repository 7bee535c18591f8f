"""The Django project: settings, URLs, the ASGI application, the server and Celery."""
