"""The two ways in which a caller takes an answer."""

import pytest

WHOLE_AND_STREAMED = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
