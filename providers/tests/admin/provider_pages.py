"""Pages of the admin of providers, models and aliases."""

import re
from typing import Any

from django.test import Client
from django.urls import reverse

PROVIDERS, MODELS, ALIASES = "providers_provider", "providers_chatmodel", "providers_modelalias"


def read_page(client: Client, name: str, *args: Any, **query: Any) -> str:
    """The HTML of an admin page; it is there, and works under a policy that forbids inline scripts
    and styles.
    """
    response = client.get(reverse(f"admin:{name}", args=args), query)
    assert response.status_code == 200, (response.status_code, name)
    html = response.content.decode()
    assert not re.search(
        r"<style|<script(?![^>]* (src|type)=)[^>]*>|\son\w+=\"|\sstyle=\"", html
    ), name
    return html
