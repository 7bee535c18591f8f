from types import SimpleNamespace

import pytest

from providers.catalogue import find_smallest_window


@pytest.mark.parametrize(
    ("windows", "smallest"),
    [([], None), ([None], None), ([0], None), ([8], 8), ([None, 8, 4, 0], 4), ([None, None], None)],
)
def test_the_window_of_a_model_is_what_every_candidate_takes(windows, smallest):
    candidates = [SimpleNamespace(context_window=window) for window in windows]
    assert find_smallest_window(candidates) == smallest
