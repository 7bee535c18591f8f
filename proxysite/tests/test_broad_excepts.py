"""Broad excepts stand only where the program meets what it cannot foresee, and say why."""

import ast
from functools import cache
from pathlib import Path

from proxysite.tests.test_layout import APPS, LEFT_OUT, ROOT

BROAD = {"Exception", "BaseException"}
# who may go on after an error that nobody foresaw
EDGES = {
    "api/batches/lines/line_request.py",  # nothing above answers the line
    "proxysite/server/lean_handler.py",  # the last resort: status 500
    "api/views/responses/socket/socket_turn.py",  # the last resort of a turn: an error event
    "api/relay/gateway.py",  # housekeeping tasks
    "api/responses/background/background_follower.py",  # a housekeeping task
    "api/accounting/ledger.py",  # a request's record is written, whatever fails
    "api/accounting/recovery.py",  # records in damaged files
    "api/accounting/sqlite_writer.py",  # the thread that writes records
    "conversations/text/extract_worker.py",  # the process that reads hostile files
}


@cache
def find_broad_handlers() -> list[tuple[str, ast.ExceptHandler, str]]:
    """Return (file, handler, source line) of each broad except outside of tests."""
    handlers = []
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if LEFT_OUT & set(path.relative_to(ROOT).parts):
                continue
            handlers += list_broad_handlers(path)
    return handlers


def list_broad_handlers(path: Path) -> list[tuple[str, ast.ExceptHandler, str]]:
    source = path.read_text()
    return [
        (str(path.relative_to(ROOT)), node, source.splitlines()[node.lineno - 1])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or BROAD & {getattr(name, "id", "") for name in ast.walk(node.type)})
    ]


def test_a_broad_except_raises_again_or_is_an_edge() -> None:
    handlers = find_broad_handlers()
    assert len(handlers) > 10
    swallowing = {
        file for file, handler, _ in handlers if not isinstance(handler.body[-1], ast.Raise)
    }
    assert swallowing == EDGES


def test_a_broad_except_says_why() -> None:
    without_reason = [
        f"{file}:{handler.lineno}"
        for file, handler, line in find_broad_handlers()
        if "#" not in line
    ]
    assert without_reason == []
