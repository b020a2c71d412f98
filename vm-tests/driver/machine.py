"""What a test script sees of a host, with the meaning that it has in the NixOS test driver."""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

# What timeout(1) ends with.
HUNG = 124
TESTS = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """A step of the script did not come out as it had to."""


def retry(fn: Callable[[bool], bool], timeout: int = 900) -> None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if fn(False):
            return
        time.sleep(0.2)
    if not fn(True):
        raise Failed(f"not in {timeout} s")


class Machine:
    def __init__(self, name: str, state: Path, say: Callable[[str], None]) -> None:
        self.name = name
        self.state = state
        self.say = say

    def boot(self) -> None:
        """Makes the namespaces, with the process that starts and stops the units in them."""
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", sys.executable, "-m", "driver.host", self.state],
            cwd=TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid
        self.expect("ready")

    def expect(self, word: str) -> None:
        assert self.process.stdout
        line = self.process.stdout.readline().strip()
        if line != word:
            raise Failed(f"{self.name}: {line or 'ended'}")

    def start(self) -> None:
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.write("start\n")
            self.process.stdin.flush()
            self.expect("started")

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=20)

    @property
    def inside(self) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--wd=/"]

    def execute(self, command: str, check_return: bool = True, check_output: bool = True, timeout: int | None = 900) -> tuple[int, str]:
        with open(self.state / "stderr", "a+") as errors:
            start = errors.seek(0, 2)
            done = self.run(command, timeout, errors)
            errors.seek(start)
            self.say(f"{self.name}: {command} -> {done.returncode} {done.stdout[-2000:]}{errors.read()[-2000:]}")
        return done.returncode, done.stdout

    def run(self, command: str, timeout: int | None, errors: IO[str] | None = None) -> subprocess.CompletedProcess[str]:
        limit = ["timeout", str(timeout)] if timeout is not None else []
        authority = self.state.parent / "site/ca.pem"
        script = f"export PATH=/run/lab/bin:$PATH SSL_CERT_FILE={authority} CURL_CA_BUNDLE={authority}; set -euo pipefail; {command}"
        return subprocess.run([*self.inside, *limit, "bash", "-c", script], stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace")

    def succeed(self, *commands: str, timeout: int | None = None) -> str:
        output = ""
        for command in commands:
            status, out = self.execute(command, timeout=timeout)
            if status != 0:
                raise Failed(f"{self.name}: `{command}` failed (exit code {status})")
            output += out
        return output

    def fail(self, *commands: str, timeout: int | None = None) -> str:
        output = ""
        for command in commands:
            status, out = self.execute(command, timeout=timeout)
            if status == 0:
                raise Failed(f"{self.name}: `{command}` unexpectedly succeeded")
            if status == HUNG:
                raise Failed(f"{self.name}: `{command}` failed by taking too long, which proves nothing")
            output += out
        return output

    def wait_until_succeeds(self, command: str, timeout: int = 900) -> str:
        return self.wait_until(command, timeout, lambda status: status == 0)

    def wait_until_fails(self, command: str, timeout: int = 900) -> str:
        return self.wait_until(command, timeout, lambda status: status != 0)

    def wait_until(self, command: str, timeout: int, good: Callable[[int], bool]) -> str:
        output = ""

        def check(_last_try: bool) -> bool:
            nonlocal output
            status, output = self.execute(command, timeout=timeout)
            return good(status)

        retry(check, timeout)
        return output

    def wait_for_open_port(self, port: int, addr: str = "localhost", timeout: int = 900) -> None:
        self.wait_until_succeeds(f"netprobe open {addr} {port}", timeout)

    def wait_for_closed_port(self, port: int, addr: str = "localhost", timeout: int = 900) -> None:
        self.wait_until_fails(f"netprobe open {addr} {port}", timeout)

    def wait_for_file(self, filename: str, timeout: int = 900) -> None:
        self.wait_until_succeeds(f"test -e {shlex.quote(filename)}", timeout)

    def systemctl(self, q: str) -> tuple[int, str]:
        return self.execute(f"systemctl {q}")

    def get_unit_property(self, unit: str, property: str) -> str:
        _, line = self.systemctl(f'show "{unit}" --property="{property}"')
        found = re.match(r"^([^=]+)=(.*)$", line)
        if not found or found[1] != property:
            raise Failed(f"{self.name}: {unit} has no {property}")
        return found[2]

    def wait_for_unit(self, unit: str, timeout: int = 900) -> None:
        def check_active(_last_try: bool) -> bool:
            state = self.get_unit_property(unit, "ActiveState")
            if state in ("failed", "inactive"):
                raise Failed(f'{self.name}: unit "{unit}" reached state "{state}"')
            return state == "active"

        retry(check_active, timeout)

    def start_job(self, jobname: str) -> tuple[int, str]:
        return self.systemctl(f"start {jobname}")

    def stop_job(self, jobname: str) -> tuple[int, str]:
        return self.systemctl(f"stop {jobname}")

    def show_logs(self) -> None:
        for unit in json.loads((self.state / "host.json").read_text())["units"]:
            text = self.run(f"journalctl --sync; journalctl --unit {unit} --output cat | tail -n 40", 10).stdout
            if text:
                print(f"--- {self.name}, {unit}\n{text}")
