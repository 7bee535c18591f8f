from conversations.strategies.multipath.draft_requests import choose_starting_points

FILLER = "The harbour has twelve piers, and ships from many countries land at them. " * 20
LAMP = "Ada tends the lamp. " * 70


def test_relevance_goes_by_what_was_asked_and_not_by_the_file_beside_it():
    file = {
        "type": "file",
        "file": {"filename": "a.txt"},
        "text": f"{FILLER}\n\n{LAMP}\n\n{FILLER}",
    }
    question = {"type": "text", "text": "Who tends the lamp?"}
    with_question, start = choose_starting_points(
        [{"role": "user", "content": [question, file]}], "relevance", 2
    )
    assert "Who tends the lamp?" in with_question
    assert "Ada tends the lamp." in start
