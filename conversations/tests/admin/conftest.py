import pytest
from django.contrib.auth.models import User
from django.test import Client


@pytest.fixture
def admin_client(transactional_db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client
