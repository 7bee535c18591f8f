"""The admin of upstream tokens and of the accounts that sign in for them.

A secret is entered once and never shown. State is shown, and changed by actions.
"""

from tokens.admin import account_admin, provider_pages, token_admin
from tokens.admin.transfers import import_batch_admin

__all__ = ["account_admin", "import_batch_admin", "provider_pages", "token_admin"]
