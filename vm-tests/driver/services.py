"""What runs on each host: the units that host.py starts, written to STATE/HOST/host.json."""

import dataclasses
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import network
from .container import Container
from .machine import Machine

DRIVER = Path(__file__).resolve().parent


@dataclasses.dataclass
class Lab:
    """What the scenario is made of: the tests' directory, the lab's own, the load balancer, and its rendered network."""

    tests: Path
    state: Path
    program: Path
    rendered: Path
    topology: dict[str, Any]
    scenario: str


def make_site(lab: Lab) -> None:
    subprocess.run([lab.tests / "shared/make-site", lab.state / "site"], check=True, stderr=subprocess.DEVNULL)


def describe(lab: Lab, host: str) -> None:
    state = lab.state / host
    (state / "bin").mkdir(parents=True)
    for name, source in (
        ("netprobe", lab.tests / "shared/netprobe.py"),
        ("systemctl", DRIVER / "systemctl.py"),
        ("journalctl", DRIVER / "journalctl.py"),
    ):
        script = state / "bin" / name
        script.write_text(f"#!/bin/sh\nexec {sys.executable} {source} \"$@\"\n")
        script.chmod(0o755)
    hosts = {address: "".join(f" {name}" for name in names(lab)) for address in public_addresses(lab)}
    own = f"127.0.0.1 localhost {socket.gethostname()}\n"
    (state / "hosts").write_text(own + "".join(f"{address}{names}\n" for address, names in hosts.items()))
    units = {f"{UNITS[name][0]}.service": UNITS[name][1](lab, state) for name in lab.topology["hosts"][host]["services"] if name in UNITS}
    (state / "host.json").write_text(json.dumps({"units": units}))


def names(lab: Lab) -> list[str]:
    """Every name that some configuration of the scenario routes."""
    configurations = [configuration(lab), *switches(lab).values()]
    return sorted({name for one in configurations for route in one["routes"].values() for name in route.get("sni", []) if "*" not in name} | {"unknown.fiscalismia.com"})


def public_addresses(lab: Lab) -> list[str]:
    addresses: list[str] = lab.topology["hosts"]["loadbalancer"]["legs"]["internet"]["addresses"]
    return addresses


def fragments(lab: Lab) -> dict[str, Any]:
    file = lab.tests / f"{lab.scenario}.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def configuration(lab: Lab) -> dict[str, Any]:
    reference: dict[str, Any] = json.loads((lab.tests.parent / "examples/fiscalismia.json").read_text())
    return merge(reference, fragments(lab).get("configuration", {}))


def switches(lab: Lab) -> dict[str, dict[str, Any]]:
    return {name: merge(configuration(lab), fragment) for name, fragment in fragments(lab).get("switches", {}).items()}


def merge(configuration: dict[str, Any], fragment: dict[str, Any]) -> dict[str, Any]:
    """A fragment has the module's options; what is in its `settings` is on the file's top level."""
    options = {key: value for key, value in fragment.items() if key != "settings"} | fragment.get("settings", {})
    return merged_sets(configuration, options)


def merged_sets(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {key: merged(one[key], other[key]) if key in one and key in other else one.get(key, other.get(key)) for key in {**one, **other}}


def merged(one: Any, other: Any) -> Any:
    """As NixOS merges the definitions of two modules: attribute sets by name, lists one after the other."""
    if isinstance(one, dict) and isinstance(other, dict):
        return merged_sets(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return one + other
    raise ValueError(f"{one!r} and {other!r} contradict each other")


def nginx(lab: Lab, state: Path, config: str) -> dict[str, Any]:
    text = (lab.tests / "shared" / config).read_text().replace("@site@", str(lab.state / "site"))
    spool = "".join(f"{kind}_temp_path /run/nginx;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (state / "nginx.conf").write_text(
        f"user root; worker_processes 1; pid /run/nginx.pid; daemon off; error_log /var/log/nginx/error.log;\n"
        f"events {{ }}\nhttp {{ {spool} access_log off;\n{text}}}\n"
    )
    return {"command": ["nginx", "-e", "/var/log/nginx/error.log", "-c", str(state / "nginx.conf")], "directories": ["/run/nginx", "/var/log/nginx"]}


def prometheus(lab: Lab, state: Path) -> dict[str, Any]:
    config = lab.tests / "shared/prometheus.json"
    return {"command": ["prometheus", f"--config.file={config}", "--storage.tsdb.path=/run/prometheus"]}


def of_host(lab: Lab, host: str, text: str) -> str:
    """What is for the first load balancer, as it is for another one: each has the other's addresses."""
    own, first = ([address for leg in lab.topology["hosts"][name]["legs"].values() for address in leg["addresses"]] for name in (host, "loadbalancer"))
    other = dict(zip(own, first)) | dict(zip(first, own))
    return re.sub("|".join(rf"(?<![\w.:]){re.escape(one)}(?![\w.])" for one in other), lambda found: other[found[0]], text)


def haproxy(lab: Lab, state: Path) -> dict[str, Any]:
    return {"command": ["haproxy", "-db", "-f", str(lab.tests / "shared/haproxy.cfg")]}


def load_balancer(lab: Lab, state: Path) -> dict[str, Any]:
    config = json.loads(of_host(lab, state.name, json.dumps(configuration(lab))))
    write(state / "config.json", config)
    for name, changed in switches(lab).items():
        write(state / f"{name}.json", changed)
    shutil.copy(lab.program, state / "fiscalismia-lb")
    legs = lab.topology["hosts"][state.name]["legs"]
    routes = config["routes"].items()
    return {
        "command": [str(state / "fiscalismia-lb"), "run", "--config", "/run/lab/config.json"],
        "notify": True,
        "keeps": 1,
        "credentials": {"stats-username": "operator", "stats-password": "correct horse"},
        "sockets": [
            {"name": "https", "listen": config["listen"], "interface": legs["internet"]["interface"]},
            {"name": "http", "listen": config["redirect"]["listen"], "interface": legs["internet"]["interface"]},
            *({"name": name, "listen": route["listen"], "interface": legs["internet"]["interface"]} for name, route in routes if "listen" in route),
            {"name": "admin", "listen": config["admin"]["listen"], "interface": legs["production"]["interface"]},
        ],
        "switches": {name: str(state / f"{name}.json") for name in switches(lab)},
        "configuration": str(state / "config.json"),
    }


def write(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2))


# A listener is all that a scan can tell of ssh.
def sshd(_lab: Lab, _state: Path) -> dict[str, Any]:
    listen = "import socket; s = socket.create_server(('', 22)); [s.accept()[0].close() for _ in iter(int, 1)]"
    return {"command": [sys.executable, "-c", listen]}


# What the topology calls services, by the units that they are on NixOS.
UNITS: dict[str, tuple[str, Callable[[Lab, Path], dict[str, Any]]]] = {
    "nginx": ("nginx", lambda lab, state: nginx(lab, state, "nginx.conf")),
    "updates": ("nginx", lambda lab, state: nginx(lab, state, "updates.conf")),
    "prometheus": ("prometheus", prometheus),
    "fiscalismia-lb": ("fiscalismia-lb", load_balancer),
    "sshd": ("sshd", sshd),
    "greeter": ("greeter", lambda lab, _state: {"command": [sys.executable, str(lab.tests / "shared/greeter.py"), "5432"]}),
    "haproxy": ("haproxy", haproxy),
}


def configure_network(lab: Lab, machine: Machine) -> None:
    """The load balancer's own comes from the NixOS module, the others' from the topology."""
    if isinstance(machine, Container):
        machine.configure_network([leg["interface"] for leg in lab.topology["hosts"][machine.name]["legs"].values()])
        return
    if "fiscalismia-lb" in lab.topology["hosts"][machine.name]["services"]:
        for text in network.networkd_files(lab.rendered):
            network.batch(list(network.of_networkd(of_host(lab, machine.name, text))), machine.inside)
        network.filter_reverse_path(machine.inside)
        network.load(machine.inside, of_host(lab, machine.name, ruleset(lab).read_text()))
        return
    network.batch(legs(lab, machine.name), machine.inside)
    network.check_senders(machine.inside)
    if "nat" in lab.topology["hosts"][machine.name]["services"]:
        network.forward(machine.inside)
        subprocess.run([*machine.inside, "nft", "--file", lab.tests / "shared/nat.nft"], check=True)


def ruleset(lab: Lab) -> Path:
    """With VRRP let through, where it is in doubt what that lets through."""
    return lab.rendered / str(fragments(lab).get("ruleset", "ruleset.nft"))


def legs(lab: Lab, host: str) -> list[str]:
    script = [sys.executable, str(lab.tests / "shared/legs.py"), str(lab.tests / "topology.json"), host]
    return subprocess.check_output(script, text=True).splitlines()
