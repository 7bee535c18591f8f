"""A migration that has been released never changes: installations have applied it as it was."""

from proxysite.testing.frozen_migrations import list_migrations, read_list


def test_released_migrations_are_as_they_were():
    now = list_migrations()
    frozen = read_list()
    assert len(frozen) > 50, "the list is not there"
    assert [path for path in frozen if path not in now] == [], "a released migration is gone"
    changed = [path for path, digest in frozen.items() if now[path] != digest]
    assert changed == [], "write a new migration instead of changing a released one"
