"""Processes of `manage.py` that start from a fork server, with the methods of Popen."""

import atexit
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from django.conf import settings

PASSED_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
COMMAND_SECONDS = 60.0  # how long a test waits for a command; it measures nothing
FORK_SERVER = Path(__file__).with_name("fork_server.py")
FORKED_MANAGE = Path(__file__).with_name("forked_manage.py")
MANAGE = str(settings.BASE_DIR / "manage.py")


def passed_environment() -> dict[str, str]:
    """Return the variables that a process needs; settings of this process are left out."""
    return {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}


@cache
def start_fork_server() -> str:
    """Start the fork server of this test process, and return the address of its socket."""
    address = str(settings.HOME.root / "fork_server")
    lifeline, write_end = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        server = subprocess.Popen(  # noqa: S603
            [sys.executable, str(FORK_SERVER), str(listener.fileno()), str(lifeline)],
            cwd=settings.BASE_DIR,
            env=passed_environment(),
            pass_fds=[listener.fileno(), lifeline],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    os.close(lifeline)

    def end_fork_server() -> None:
        os.close(write_end)
        server.wait()

    atexit.register(end_fork_server)
    return address


def make_manage_command() -> str:
    """Return the words that stand for `python manage.py` in a shell."""
    words = [sys.executable, "-I", "-S", str(FORKED_MANAGE), start_fork_server(), MANAGE]
    return shlex.join(words)


class ForkedProcess:
    """One `manage.py` process, which leads a process group of its own."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        streams: Sequence[int],
        folder: Path = settings.BASE_DIR,
    ) -> None:
        """Start `manage.py` with these arguments.

        `streams` are the file descriptors of its standard input, output and error.
        """
        self.args = [MANAGE, *arguments]
        self.returncode: int | None = None
        launch = {
            "arguments": self.args,
            "environment": dict(environment),
            "folder": str(folder),
        }
        self._status_pipe, write_end = os.pipe()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                connection.connect(start_fork_server())
                message = json.dumps(launch).encode()
                socket.send_fds(connection, [message], [*streams, write_end])
        finally:
            os.close(write_end)
        self.pid = self._read_number()

    def _read_number(self) -> int:
        """Wait for the next line of the status pipe."""
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self._status_pipe, 1)
            assert byte, "the fork server has ended"
            line += byte
        return int(line)

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status when the process has ended. Raises TimeoutExpired."""
        if self.returncode is None:
            readable, _, _ = select.select([self._status_pipe], [], [], timeout)
            if not readable:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._read_number()
            os.close(self._status_pipe)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process and its group."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)


def run_forked_command(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: str = "",
    folder: Path = settings.BASE_DIR,
) -> "subprocess.CompletedProcess[str]":
    """Run a management command to its end, with `stdin` as its input; its status may be any."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as given,
        tempfile.TemporaryFile("w+", encoding="utf-8") as output,
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
    ):
        given.write(stdin)
        given.seek(0)
        streams = [file.fileno() for file in (given, output, errors)]
        process = ForkedProcess(arguments, environment, streams, folder)
        try:
            status = process.wait(COMMAND_SECONDS)
        finally:
            process.kill()
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(process.args, status, output.read(), errors.read())
