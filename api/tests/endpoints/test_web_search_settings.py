"""Settings of web search that do not fit together are refused at the start."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from providers import checks


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"SEARCH_BACKEND": "google"}, "one of: searxng, brave, tavily"),
        ({"SEARCH_URL": "https://search.example"}, "need SEARCH_BACKEND"),
        ({"SEARCH_KEY": "k"}, "need SEARCH_BACKEND"),
        ({"SEARCH_BACKEND": "searxng"}, "needs SEARCH_URL"),
        (
            {
                "SEARCH_BACKEND": "searxng",
                "SEARCH_URL": "https://search.example",
                "SEARCH_KEY": "k",
            },
            "takes no",
        ),
        ({"SEARCH_BACKEND": "searxng", "SEARCH_URL": "http://10.0.0.1"}, "SEARCH_ALLOW_PRIVATE"),
        ({"SEARCH_BACKEND": "brave"}, "needs a SEARCH_KEY"),
        ({"SEARCH_BACKEND": "tavily", "SEARCH_KEY": "a\r\nb"}, "no header can carry"),
        ({"SEARCH_BACKEND": "tavily", "SEARCH_KEY": "k", "SEARCH_URL": "ftp://x"}, "SEARCH_URL"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_at_the_start(settings, given, says):
    for name, value in given.items():
        setattr(settings, name, value)
    (error,) = checks.check_web_search_settings()
    assert error.id == "providers.E003"
    assert says in error.msg


def test_the_start_runs_that_check(settings):
    settings.SEARCH_BACKEND = "google"
    with pytest.raises(SystemCheckError, match=r"providers\.E003"):
        call_command("check")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"SEARCH_BACKEND": "searxng", "SEARCH_URL": "https://search.example/x"},
        {
            "SEARCH_BACKEND": "searxng",
            "SEARCH_URL": "http://searxng:8080",
            "SEARCH_ALLOW_PRIVATE": True,
        },
        {"SEARCH_BACKEND": "brave", "SEARCH_KEY": "k"},
        {"SEARCH_BACKEND": "tavily", "SEARCH_KEY": "k"},
    ],
)
def test_settings_that_fit_are_none_to_speak_of(settings, given):
    for name, value in given.items():
        setattr(settings, name, value)
    assert checks.check_web_search_settings() == []
