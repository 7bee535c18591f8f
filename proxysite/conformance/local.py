"""Run our own gateway, in a temporary home, in front of the faulty upstream (`make conformance`).

Everything is set up by the commands that an operator uses. Arguments are passed to the command
`conformance`.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proxysite.conformance.scenarios import HEALTHY_MODEL, HEALTHY_MODEL_WITHOUT_PREFILL, SCENARIOS

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PASSED_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
STARTING_SECONDS = 60.0
ENDING_SECONDS = 10.0
KEY_PATTERN = re.compile(r"API key +(\S+)")
ADDRESS_PATTERN = re.compile(r"serves (http://127\.0\.0\.1:\d+)")
UPSTREAM_TOKENS = ("sk-wall-1", "sk-wall-2", "sk-wall-3")
FALLBACK_TOKENS = ("sk-fallback-1", "sk-fallback-2")
# The faults of the profile `fast` last 3 to 20 seconds: the gateway waits for less.
FAST_SETTINGS = {
    "FIRST_BYTE_SECONDS": "2",
    "GAP_SECONDS": "2",
    "BREAKER_SECONDS": "1",
    "REST_SECONDS": "1",
    "FAILING_SECONDS": "1",
}


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """The file that a running command writes its output to."""

    path: Path
    process: "subprocess.Popen[bytes]"

    def wait_for_match(self, pattern: re.Pattern[str]) -> str:
        """Wait until the pattern occurs, and return its first group. Raises SystemExit."""
        until = time.monotonic() + STARTING_SECONDS
        while (match := pattern.search(self.path.read_text())) is None:
            if self.process.poll() is not None or time.monotonic() >= until:
                raise SystemExit(f"{self.path.stem} does not serve:\n{self.path.read_text()}")
            time.sleep(0.05)
        return match[1]


class TemporaryHome:
    """A home in a temporary folder, and the processes that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ
        }
        self.environment |= {
            "PROXYSITE_HOME": str(folder / "home"),
            "MARKER_FILE": "none",
            "DJANGO_SETTINGS_MODULE": "proxysite.settings",
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "EMBEDDED_WORKER": "false",
            **FAST_SETTINGS,
        }

    @contextmanager
    def start_manage_command(self, *arguments: str) -> Iterator[CommandOutput]:
        """Run a command until the block ends."""
        path = self.folder / f"{arguments[0]}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "manage.py", *arguments],
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield CommandOutput(path, process)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run_manage_command(self, *arguments: str, stdin: str = "") -> None:
        """Run a command to its end. Raises SystemExit when it fails."""
        done = subprocess.run(  # noqa: S603
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT_ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")

    def run_conformance(self, *arguments: str) -> int:
        """Run the command `conformance` with its output shown, and return its exit status."""
        command = [sys.executable, "manage.py", "conformance", *arguments]
        done = subprocess.run(  # noqa: S603
            command, cwd=PROJECT_ROOT, env=self.environment, check=False
        )
        return done.returncode


def create_providers(home: TemporaryHome, upstream_url: str) -> None:
    """Create the providers: the faulty upstream, and the fallback that is asked after it.

    The fallback comes first: once the healthy models are in force, everything is.
    """
    where = ("--kind", "openai_compatible", "--base-url", f"{upstream_url}/v1", "--allow-private")
    fallbacks = [f"--model={scenario.model}={scenario.fallback_model}" for scenario in SCENARIOS]
    home.run_manage_command("add_provider", "fallback", *where, "--priority", "1", *fallbacks)
    home.run_manage_command("import_tokens", "fallback", "-", stdin="\n".join(FALLBACK_TOKENS))
    models = [scenario.model for scenario in SCENARIOS] + [
        HEALTHY_MODEL,
        HEALTHY_MODEL_WITHOUT_PREFILL,
    ]
    home.run_manage_command("add_provider", "wall", *where, *(f"--model={name}" for name in models))
    home.run_manage_command("import_tokens", "wall", "-", stdin="\n".join(UPSTREAM_TOKENS))


def main(arguments: Sequence[str]) -> int:
    """Run everything, and return the exit status of `conformance`."""
    with tempfile.TemporaryDirectory(prefix="proxysite-conformance-") as folder:
        scratch = TemporaryHome(Path(folder))
        where = ("--host", "127.0.0.1", "--port", "0")
        upstream = scratch.start_manage_command("faulty_upstream", *where)
        with scratch.start_manage_command("serve", *where) as gateway, upstream as wall:
            wall_url = wall.wait_for_match(ADDRESS_PATTERN)
            url = gateway.wait_for_match(ADDRESS_PATTERN)
            create_providers(scratch, wall_url)
            options = ("--wall", wall_url, "--profile", "fast", *arguments)
            return scratch.run_conformance(
                f"{url}/v1", gateway.wait_for_match(KEY_PATTERN), *options
            )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
