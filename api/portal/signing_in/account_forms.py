"""The form of a new account: a name and a password, and an e-mail address if one wants."""

from django import forms
from django.contrib.auth.forms import UserCreationForm
from django.utils.translation import gettext_lazy as _

from api.invitations.accounts import NewAccount


class AccountForm(UserCreationForm):  # type: ignore[type-arg]
    """Django's form with its validators; it writes nothing itself."""

    email = forms.EmailField(
        label=_("E-mail address"),
        required=False,
        help_text=_("Optional; a new password can be sent there."),
    )

    class Meta(UserCreationForm.Meta):
        fields = ("username", "email")

    def read_account(self) -> NewAccount:
        """Return the new account that a valid form describes."""
        values = self.cleaned_data
        return NewAccount(values["username"], values["password1"], values["email"])
