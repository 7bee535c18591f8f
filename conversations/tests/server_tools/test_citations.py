"""Citations in a text, wherever the stream cuts it."""

import pytest

from conversations.server_tools.citations import CitationFinder, CitationSources

TEXT = "Graz [1] and the [Mur](https://b.example/mur). [3] [7] a[0] [2](x) [1]"


@pytest.fixture
def sources():
    filled = CitationSources()
    filled.add_page("https://a.example/", "A")
    filled.add_page("https://b.example/mur", "B")
    filled.add_file("file-1", "f.txt")
    assert filled.add_page("https://a.example/", "again") == 1
    return filled


def find_citations(sources, pieces):
    finder = CitationFinder(sources)
    found = [annotation for piece in pieces for annotation in finder.read_piece(piece)]
    return found + finder.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 200])
def test_marks_are_found_wherever_the_text_is_cut(sources, size):
    pieces = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]
    found = find_citations(sources, pieces)
    spans = [
        TEXT[entry["url_citation"]["start_index"] : entry["url_citation"]["end_index"]]
        for entry in found
        if entry["type"] == "url_citation"
    ]
    assert spans == ["[1]", "[Mur](https://b.example/mur)", "[1]"]
    (file,) = [entry["file_citation"] for entry in found if entry["type"] == "file_citation"]
    assert file == {
        "file_id": "file-1",
        "filename": "f.txt",
        "index": TEXT.index("[3]") + len("[3]"),
    }


def test_a_text_full_of_brackets_takes_no_more_work_than_its_length(sources):
    finder = CitationFinder(sources)
    for _ in range(20_000):
        assert finder.read_piece("[") == []
    assert len(finder._tail) <= 2_301
