import pytest

from proxysite.configuration import env_aliases


def applied(**environ: str) -> dict[str, str]:
    env_aliases.apply_aliases(environ)
    return environ


@pytest.mark.parametrize(("theirs", "ours"), env_aliases.ALIASES.items())
def test_their_name_sets_our_setting_unless_ours_is_set(theirs: str, ours: str) -> None:
    assert applied(**{theirs: "a"})[ours] == "a"
    assert applied(**{theirs: "a", ours: "b"})[ours] == "b"
    assert ours not in applied(**{theirs: ""})


@pytest.mark.parametrize("name", env_aliases.DEBUG_VARIABLES)
def test_debug_means_more_log_and_nothing_else(name: str) -> None:
    assert applied(**{name: "True"}) == {name: "True", "LOG_LEVEL": "DEBUG"}
    assert applied(**{name: "false"}) == {name: "false"}
    assert applied(**{name: "true", "LOG_LEVEL": "ERROR"})["LOG_LEVEL"] == "ERROR"


def test_an_empty_environment_stays_so() -> None:
    assert applied() == {}
