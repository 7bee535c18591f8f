"""Translate the texts of our models: names, names of fields, help texts, and choices.

Models and migrations stay free of translation calls: Django makes a field's name from its
attribute, and the other texts are plain strings in the models. `translate_model_texts` makes all of
them lazy translations when the apps are ready. `list_model_texts` returns the same texts for the
catalogue (`make messages`).
"""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db.models import Choices, Model
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

OUR_APPS = ("providers", "tokens", "conversations", "api", "proxysite")


def find_our_models() -> list[type[Model]]:
    return [model for name in OUR_APPS for model in apps.get_app_config(name).get_models()]


def find_our_choices(base: type[Choices] = Choices) -> Iterator[type[Choices]]:
    """Yield the enumerations of our apps."""
    for choices in base.__subclasses__():
        yield from find_our_choices(choices)
        if choices.__module__.split(".")[0] in OUR_APPS:
            yield choices


def list_model_texts() -> list[str]:
    """Return every text of our models that a page can show, sorted, each once."""
    texts = {text for model in find_our_models() for text in find_texts(model)}
    texts |= {str(member.label) for choices in find_our_choices() for member in choices}
    return sorted(text for text in texts if any(letter.isalpha() for letter in text))


def find_texts(model: type[Model]) -> Iterator[str]:
    yield str(model._meta.verbose_name)
    yield str(model._meta.verbose_name_plural)
    for field in find_fields(model):
        yield str(field.verbose_name)
        yield str(field.help_text)
        yield from (str(label) for _, label in field.flatchoices)


def find_fields(model: type[Model]) -> list[Any]:
    """Return the columns and many-to-many fields of a model."""
    return [*model._meta.local_fields, *model._meta.local_many_to_many]


def translate_model_texts() -> None:
    """Make the texts of our models and enumerations lazy translations."""
    for choices in find_our_choices():
        for member in choices:
            vars(member)["_label_"] = translate_lazily(member.label)
    for model in find_our_models():
        options: Any = model._meta
        options.verbose_name = translate_lazily(options.verbose_name)
        # Django makes a plural that a model does not name from the singular, as a lazy text
        options.verbose_name_plural = gettext_lazy(str(options.verbose_name_plural))
        for field in find_fields(model):
            field.verbose_name = translate_lazily(field.verbose_name)
            field.help_text = translate_lazily(field.help_text)
            if field.choices:
                field.choices = [
                    (value, translate_lazily(label)) for value, label in field.flatchoices
                ]


def translate_lazily(text: str | Promise) -> str | Promise:
    """Return a text as a lazy translation; an empty one stays empty, a lazy one as it is."""
    if not text or isinstance(text, Promise):
        return text
    return gettext_lazy(text)
