"""The first process of a host: mounts, then starts and stops the host's units. usage: -m driver.host STATE

STATE/host.json has the units. `start` on standard input starts them all; its end stops them. systemctl.py asks by a socket.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from . import units

CONTROL = "/run/lab/control"


def main() -> None:
    state = Path(sys.argv[1])
    mount(state)
    described = json.loads((state / "host.json").read_text())["units"]
    host_units = {name: units.Unit(name, unit) for name, unit in described.items()}
    for name, unit in host_units.items():
        units.install_switches(name, unit)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(CONTROL)
    server.listen()
    threading.Thread(target=answer_all, args=(server, host_units), daemon=True).start()
    print("ready", flush=True)
    for _ in sys.stdin:
        for unit in host_units.values():
            unit.start()
        print("started", flush=True)
    for unit in host_units.values():
        unit.stop()


def mount(state: Path) -> None:
    """What the units write stays within the host; names are those that a client would look up."""
    for directory in ("/run", "/var/log"):
        run("mount", "-t", "tmpfs", "tmpfs", directory)
    run("mount", "--bind", state / "hosts", "/etc/hosts")
    run("ip", "link", "set", "lo", "up")
    os.makedirs("/run/lab")
    os.symlink(state / "bin", "/run/lab/bin")


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def answer_all(server: socket.socket, host_units: dict[str, units.Unit]) -> None:
    while True:
        connection, _ = server.accept()
        with connection:
            words = json.loads(connection.makefile().readline())
            connection.sendall(json.dumps(answer(words, host_units)).encode())


def answer(words: list[str], host_units: dict[str, units.Unit]) -> dict[str, Any]:
    verb, name = words[0], words[1] if "." in words[1] else f"{words[1]}.service"
    if name not in host_units:
        return {"code": 4, "out": f"Unit {name} could not be found.\n"}
    unit = host_units[name]
    match verb, words[2:]:
        case "start" | "stop" | "restart" | "reload", []:
            return {"code": 0 if getattr(unit, verb)() else 1, "out": ""}
        case "is-active", []:
            return {"code": 0 if unit.state == "active" else 3, "out": f"{unit.state}\n"}
        case "show", [option]:
            key = option.removeprefix("--property=")
            return {"code": 0, "out": f"{key}={unit.properties()[key]}\n"}
    return {"code": 1, "out": f"the lab does not know: systemctl {' '.join(words)}\n"}


if __name__ == "__main__":
    main()
