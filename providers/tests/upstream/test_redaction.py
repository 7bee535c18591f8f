"""No form in which an upstream repeats a secret is shown."""

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.upstream.error_mapping import clean_message
from providers.upstream.redaction import blank_secret, list_encoded_forms

SECRET = "sk-Canary+1/aB_9~xYz?7Q"
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=60)


def base64(text):
    return b64encode(text.encode()).decode()


FORMS = {
    "as it is": lambda secret: secret,
    "upper case": str.upper,
    "lower case": str.lower,
    "swapped case": str.swapcase,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "percent-encoded in lower case": lambda secret: quote(secret, safe="").lower(),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "hexadecimal in upper case": lambda secret: secret.encode().hex().upper(),
    "base64": base64,
    "base64 without padding": lambda secret: base64(secret).rstrip("="),
    "URL-safe base64": lambda secret: urlsafe_b64encode(secret.encode()).decode(),
    "base64 of a header": lambda secret: base64(f"Bearer {secret}"),
    "base64 of a login": lambda secret: base64(f":{secret}"),
    "base64 in the middle": lambda secret: base64(f"x{secret}\r\nmore of it"),
    "its first half": lambda secret: secret[: max(12, len(secret) // 2)],
    "its end": lambda secret: secret[-12:],
}


def leaks(shown, form, length=12):
    """Whether so many characters of the form, one after another, are shown."""
    shown, form = shown.lower(), form.lower()
    return any(form[at : at + length] in shown for at in range(len(form) - length + 1))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_form_of_a_secret_is_shown(form):
    shown = blank_secret(f"The key '{form(SECRET)}' is wrong, {form(SECRET)}!", SECRET)
    assert "***" in shown
    assert not any(leaks(shown, encoded) for encoded in list_encoded_forms(SECRET))
    assert shown.startswith("The key '")
    assert shown.endswith("!")


@given(secret=SECRETS, form=st.sampled_from(list(FORMS)), around=st.text(max_size=30))
def test_a_secret_of_any_kind_is_blanked_in_any_text(secret, form, around):
    written = FORMS[form](secret)
    shown = blank_secret(f"{around} {written} {around}", secret)
    assert written not in shown.removeprefix(around).removesuffix(around)


@given(text=st.text(max_size=200))
def test_a_text_without_the_secret_stays_as_it_is(text):
    assert blank_secret(text, SECRET) == text


@pytest.mark.parametrize("secret", ["abcd", "tok-1", "a-token-one-1"])
def test_a_short_secret_is_blanked_too(secret):
    shown = blank_secret(f"no {secret}, no {secret.upper()}; ok", secret)
    assert shown == "no ***, no ***; ok"


@pytest.mark.parametrize(
    "text", ["Incorrect API key provided: sk-ab****9xyz. See https://example.org/keys/help", "ok"]
)
def test_ordinary_sentences_are_not_touched(text):
    assert blank_secret(text, SECRET) == text


def test_a_long_message_is_cut_before_it_is_searched():
    assert len(clean_message("word " * 1_000_000 + SECRET, SECRET)) == 500


def test_an_empty_secret_blanks_nothing():
    assert blank_secret("as it is", "") == "as it is"
