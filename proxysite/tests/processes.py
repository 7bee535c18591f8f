"""Real processes for tests: a program whose output can be waited for, a gateway on a home of its
own, and third-party programs with what they need installed once below INTEROP_HOME (default
`.interop` in the repository's root).
"""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

Found = TypeVar("Found")
ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
PATIENCE_SECONDS = (
    60.0  # how long a test waits for what must happen; never how long something takes
)
INSTALL_SECONDS = 500.0
NODE = 20  # the oldest that the packages run on
# what a process needs of the environment that it is started in; what a person has set for a gateway
# is not for tests
ADDRESS = re.compile(r"(?:serves|running on|listening on) (http://127\.0\.0\.1:\d+)")
SURROUNDINGS = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")


def patiently(question: Callable[[], Found], what: str, seconds: float = PATIENCE_SECONDS) -> Found:
    """Ask until the answer is true, and return it. Raises AssertionError when that takes longer
    than `seconds`.
    """
    until = time.monotonic() + seconds
    while True:
        if found := question():
            return found
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def surroundings(**more: str) -> dict[str, str]:
    return {name: os.environ[name] for name in SURROUNDINGS if name in os.environ} | more


class Program:
    """One running process; all that it writes goes to the file `log`."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, env: dict[str, str], cwd: Path = ROOT
    ) -> None:
        self._log = log
        with log.open("wb") as file:
            # a group of its own: what is sent to it reaches nobody else
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.poll()

    def until(
        self, question: Callable[[], Found], what: str, seconds: float = PATIENCE_SECONDS
    ) -> Found:
        """`patiently`, but not beyond the end of the program."""

        def ask() -> Found:
            found = question()
            assert found or self.status is None, (
                f"it ended with status {self.status} before {what}:\n{self.said}"
            )
            return found

        try:
            return patiently(ask, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said[-4000:]}") from None

    def address(self) -> str:
        """The base URL of its loopback port, once it says where it serves."""
        found = self.until(lambda: ADDRESS.search(self.said), "an address")
        assert found is not None
        return found[1]

    def stop(self, seconds: float = PATIENCE_SECONDS) -> int:
        """SIGTERM, and the exit status. What does not end in time is killed, and fails the test."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"SIGTERM did not end it within {seconds:g} s:\n{self.said[-4000:]}"
            ) from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End it and what it started, whatever state it is in."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE_SECONDS)


class Gateway:
    """`manage.py serve` on SQLite in a home of its own, and the commands that a person would type
    beside it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._env = surroundings(
            HOME=str(home),
            PROXYSITE_HOME=str(home / "var"),
            DATABASE_URL="",
            REDIS_URL="",
            EMBEDDED_WORKER="false",
            MARKER_FILE="none",
        )
        command = [sys.executable, "manage.py", "serve", "--port", "0"]
        self._program = Program(command, home / "serve.log", self._env)
        try:
            self.url = self._program.address()
        except AssertionError:
            self._program.kill()
            raise

    @property
    def said(self) -> str:
        return self._program.said

    def manage(self, *arguments: str, given: str = "") -> str:
        """The output of one command; `given` is its standard input. Raises AssertionError when it
        fails.
        """
        command = [sys.executable, "manage.py", *arguments]
        ran = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            env=self._env,
            cwd=ROOT,
            timeout=60,
        )
        assert ran.returncode == 0, f"{arguments}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    def provide(
        self,
        name: str,
        base_url: str,
        *models: str,
        tokens: Iterable[str],
        private: bool = True,
        kind: str = "openai_compatible",
    ) -> None:
        """A provider of a kind, its models and tokens."""
        options = [option for model in models for option in ("--model", model)]
        options += ["--confirm-tokens", *(["--allow-private"] if private else [])]
        self.manage("add_provider", name, "--kind", kind, "--base-url", base_url, *options)
        secrets = list(tokens)
        report = self.manage("import_tokens", name, "-", given="\n".join(secrets))
        assert f"{len(secrets)} imported" in report, report

    def issue_key(self, user: str, *options: str) -> str:
        return self.manage("issue_key", user, *options).splitlines()[-1]

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What a query of the gateway's database finds."""
        file = f"file:{self.home / 'var' / 'proxysite.sqlite3'}?mode=ro"
        with closing(sqlite3.connect(file, uri=True, timeout=20)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query, values)]

    def ledger(self, model: str) -> list[dict[str, Any]]:
        """The usage rows of a public model, oldest first."""
        return self.rows("SELECT * FROM api_usagerecord WHERE model = ? ORDER BY id", model)

    def tokens(self, provider: str) -> list[dict[str, Any]]:
        query = (
            "SELECT t.* FROM tokens_upstreamtoken t JOIN providers_provider p ON p.id = "
            "t.provider_id"
            " WHERE p.name = ? ORDER BY t.created_at, t.id"
        )
        return self.rows(query, provider)

    def stop(self) -> None:
        """It ends as asked, and has logged no error of its own."""
        status = self._program.stop()
        assert status == 0, self.said
        assert "Traceback" not in self.said, self.said


def installed(name: str, sources: Sequence[Path], install: Callable[[Path], None]) -> Path:
    """The directory in which `install` put something, once for each content of `sources`."""
    top = Path(os.environ.get("INTEROP_HOME") or ROOT / ".interop")
    top.mkdir(parents=True, exist_ok=True)
    content = hashlib.sha256(
        b"".join(source.read_bytes() for source in sources) + sys.version.encode()
    )
    place = top / f"{name}-{content.hexdigest()[:12]}"
    stamp = place / ".complete"
    with (top / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes install it once
        if not stamp.exists():
            for old in top.glob(f"{name}-*"):
                shutil.rmtree(old)
            place.mkdir()
            install(place)
            stamp.touch()
    return place


def run_installer(*command: str | Path, cwd: Path) -> None:
    """With the environment as it is: package mirrors and certificates are set there."""
    arguments = [str(part) for part in command]
    ran = subprocess.run(
        arguments, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    assert ran.returncode == 0, f"{' '.join(arguments)}\n{ran.stdout[-2000:]}{ran.stderr[-4000:]}"


def npm_packages(name: str = "npm", command: str = "ci") -> Path:
    """The directory with the `node_modules` that `{name}/package-lock.json` names; the test scripts
    lie beside them. Skips the test on a machine without Node.js.

    `npm install` keeps to the lock as `npm ci` does, but takes one that has the programs of only
    one platform.
    """
    folder = HERE / name
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("needs Node.js and npm, which are not installed here")
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < NODE:
        pytest.skip(f"needs Node.js {NODE} or newer; here is {version}")

    def install(place: Path) -> None:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(folder / file, place)
        run_installer("npm", command, "--ignore-scripts", "--no-audit", "--no-fund", cwd=place)

    place = installed(name, [folder / "package.json", folder / "package-lock.json"], install)
    for script in folder.glob("*.mjs"):
        shutil.copy(script, place)
    return place


def pip_programs(name: str) -> Path:
    """The `bin` directory of a virtual environment with what the lock `pip/{name}.txt` names."""
    lock = HERE / "pip" / f"{name}.txt"

    def install(place: Path) -> None:
        run_installer(sys.executable, "-m", "venv", place, cwd=place)
        pip = (
            place / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        )
        # The lock names every package. Resolved again, a release newer than the lock is an error.
        exactly = ("--no-deps", "--only-binary", ":all:", "--require-hashes")
        run_installer(*pip, *exactly, "--requirement", lock, cwd=place)

    return installed(name, [lock], install) / "bin"
