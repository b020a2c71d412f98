"""A unit: as much of systemd as the scenarios lean on: sockets, readiness, reload, credentials, and fds kept over a restart."""

import fcntl
import os
import queue
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

READY_WITHIN = 20


class Unit:
    def __init__(self, name: str, described: dict[str, Any]) -> None:
        self.name = name
        self.described = described
        self.log = f"/var/log/{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.sockets: list[tuple[str, socket.socket]] = []
        self.turn = threading.RLock()
        for directory in described.get("directories", []):
            os.makedirs(directory, exist_ok=True)
        if "configuration" in described:
            shutil.copy(described["configuration"], "/run/lab/config.json")
        for key, value in described.get("credentials", {}).items():
            file = Path("/run/credentials") / name / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(value)
        self.notices = Notices(f"/run/lab/{name}.notify")

    @property
    def state(self) -> str:
        if self.process is None:
            return "inactive"
        return "active" if self.process.poll() is None else "failed"

    def properties(self) -> dict[str, str]:
        pid = self.process.pid if self.process and self.state == "active" else 0
        return {"ActiveState": self.state, "MainPID": str(pid)}

    def start(self) -> bool:
        with self.turn:
            if self.state == "active":
                return True
            self.open_sockets()
            self.notices.forget()
            command = ["bash", "-c", self.script(), "bash", *self.described["command"]]
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "NOTIFY_SOCKET": f"/run/lab/{self.name}.notify", **self.store()},
                    pass_fds=[fd for _, fd in self.passed()],
                )
            return not self.described.get("notify") or self.notices.wait("READY=1")

    def store(self) -> dict[str, str]:
        """By this a process knows that fds are kept for the next one."""
        return {"FDSTORE": str(self.described["keeps"])} if "keeps" in self.described else {}

    def passed(self) -> list[tuple[str, int]]:
        return [(name, one.fileno()) for name, one in self.sockets] + list(self.notices.kept.items())

    def script(self) -> str:
        """Descriptors have to begin at 3, and LISTEN_PID is only known once there is a process."""
        passed = self.passed()
        if not passed:
            return 'exec "$@"'
        names = ":".join(name for name, _ in passed)
        moves = " ".join(f"{3 + n}<&{fd} {fd}<&-" for n, (_, fd) in enumerate(passed))
        return f'LISTEN_PID=$$ LISTEN_FDS={len(passed)} LISTEN_FDNAMES={names} exec "$@" {moves}'

    def open_sockets(self) -> None:
        """Once: they outlive the service, as those of a socket unit do."""
        if self.sockets:
            return
        for unit in self.described.get("sockets", []):
            for listen in unit["listen"]:
                self.sockets.append((unit["name"], listening(listen, unit["interface"])))

    def stop(self) -> bool:
        """For good: what it has left to the next process goes too, as by FileDescriptorStorePreserve=restart."""
        with self.turn:
            self.end()
            self.notices.drop()
            return True

    def end(self) -> None:
        with self.turn:
            if self.process and self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
            self.process = None

    def restart(self) -> bool:
        with self.turn:
            self.end()
            return self.start()

    def reload(self) -> bool:
        with self.turn:
            if not self.process or self.state != "active":
                return False
            self.notices.forget()
            self.process.send_signal(signal.SIGHUP)
            return self.notices.wait("RELOADING=1") and self.notices.wait("READY=1")


class Notices:
    """What a service says of itself, taken in as it comes, for a service must not be kept waiting for a reader."""

    def __init__(self, path: str) -> None:
        # What it leaves to the next process, by name.
        self.kept: dict[str, int] = {}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        Path(path).unlink(missing_ok=True)
        self.socket.bind(path)
        self.heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        while True:
            message, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
            lines = message.decode().split("\n")
            self.keep(dict(line.split("=", 1) for line in lines if "=" in line), fds)
            for line in lines:
                self.heard.put(line)

    def keep(self, said: dict[str, str], fds: list[int]) -> None:
        """FDSTORE=1 and FDSTOREREMOVE=1 of sd_notify(3). Closing the fd of BARRIER=1 answers it."""
        if "FDSTOREREMOVE" in said and (old := self.kept.pop(said["FDNAME"], None)) is not None:
            os.close(old)
        if "FDSTORE" in said:
            # Away from the numbers that the next process gets them by.
            self.kept[said["FDNAME"]] = fcntl.fcntl(fds[0], fcntl.F_DUPFD_CLOEXEC, 20)
        for fd in fds:
            os.close(fd)

    def drop(self) -> None:
        while self.kept:
            os.close(self.kept.popitem()[1])

    def forget(self) -> None:
        while not self.heard.empty():
            self.heard.get()

    def wait(self, word: str) -> bool:
        try:
            while self.heard.get(timeout=READY_WITHIN) != word:
                pass
        except queue.Empty:
            return False
        return True


def listening(address: str, interface: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    # Numbers from 20 on, so that none is in the way of those that the service is to find.
    with socket.socket(family, socket.SOCK_STREAM) as low:
        one = socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD, 20))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.setblocking(False)
    one.bind((host.strip("[]"), int(port)))
    one.listen(4096)
    return one


def install_switches(name: str, unit: Unit) -> None:
    """Where NixOS has its other configurations: one that changes the file reloads, one that changes the program restarts.

    The system that was booted has them. Once one of them is the current system there are none below that, as on NixOS.
    """
    for switch, file in unit.described.get("switches", {}).items():
        verb = "restart" if switch == "upgraded" else "reload"
        system = Path(f"/run/booted-system/specialisation/{switch}")
        script = system / "bin/switch-to-configuration"
        script.parent.mkdir(parents=True)
        become = f"ln -sfn {system} /run/current-system"
        script.write_text(f"#!/bin/sh\n{become} && cp {shlex.quote(file)} /run/lab/config.json && exec systemctl {verb} {name}\n")
        script.chmod(0o755)
    if unit.described.get("switches"):
        Path("/run/current-system").symlink_to("/run/booted-system")
