"""File parts as upstreams get them: nothing that is ours alone goes up."""

import pytest

from providers.filters.file_parts import FILE_ID_FIELD, TEXT_FIELD, rewrite_file_parts
from providers.protocol.request import UpstreamModel

FILE = {"filename": "a.txt", "file_data": "data:text/plain;base64,YQ=="}
PART = {"type": "file", "file": FILE, TEXT_FIELD: "a", FILE_ID_FIELD: "file-1"}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (True, {"type": "file", "file": FILE}),
        (False, {"type": "text", "text": "[File: a.txt]\na\n[End of the file a.txt]"}),
    ],
)
def test_what_is_ours_alone_stays_here(files, told):
    body = {"messages": [{"role": "user", "content": [PART]}]}
    assert rewrite_file_parts(body, UpstreamModel("m", files=files))["messages"][0]["content"] == [
        told
    ]
