"""One of the two hosts: the load balancer, and keepalived, with the ruleset and the settings of nixos/pair.nix as rendered."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .world import API, HOSTS, SERVER, VIP, WORK, inside, run

NIXOS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(NIXOS.parent / "vm-tests"))
from driver.units import Unit  # noqa: E402


class Host:
    """`kind` is "" or "cloud-": a network of one's own, or Hetzner's. Under a `manager` the program has its sockets from outside."""

    def __init__(self, name: str, kind: str = "", manager: bool = False) -> None:
        self.name, self.device = name, "lo" if kind else "enp1s0"
        self.inside = f"ip netns exec {name} "
        own = HOSTS[name][1]
        config = WORK / f"{name}.json"
        route = {"sni": ["fiscalismia.com"], "servers": [f"{SERVER}:443"], "health_check": {"interval": "1s"}}
        listen = {"listen": ["0.0.0.0:443"], "routes": {"frontend": route}, "admin": {"listen": [f"{own}:8404"]}}
        config.write_text(json.dumps(listen))
        run(f"{self.inside}nft --file {NIXOS}/rendered/pair-{kind}{name}.nft")
        command = [str(WORK / "lb"), "run", "--config", str(config)]
        sockets = [("https", "0.0.0.0:443", "enp1s0"), ("admin", f"{own}:8404", "enp8s0")] if manager else []
        described = [{"name": name, "listen": [listen], "interface": interface} for name, listen, interface in sockets]
        self.program = Unit(name, {"command": command, "notify": True, "keeps": 1, "sockets": described})
        self.start()
        rendered = json.loads((NIXOS / f"rendered/pair-{kind}{name}.json").read_text())
        if kind:
            rendered["instance"]["extraConfig"] += self.notices(name)
        settings = WORK / f"{name}.conf"
        settings.write_text(keepalived(rendered, f"{WORK}/lb health http://{own}:8404/health"))
        with open(WORK / f"{name}.keepalived.log", "a") as log:
            words = f"{self.inside}keepalived --dont-fork --log-console -f {settings} -p {WORK}/{name}.pid -r {WORK}/{name}.vrrp.pid"
            self.keepalived = subprocess.Popen(words.split(), stdout=log, stderr=log)

    def start(self) -> None:
        self.act(self.program.start)

    def restart(self) -> None:
        self.act(self.program.restart)

    def act(self, action: Callable[[], bool]) -> None:
        with inside(self.name):
            if not action():
                sys.exit(f"test-failover: {self.name}: not ready: {Path(self.program.log).read_text()[-2000:]}")

    def signal(self, number: int) -> None:
        """As from a fault of its own: nobody waits for it."""
        assert self.program.process
        self.program.process.send_signal(number)

    def has_address(self) -> bool:
        return VIP in run(f"ip -n {self.name} -4 -o address show dev {self.device} to {VIP}")

    def leave(self) -> None:
        self.keepalived.terminate()
        self.keepalived.wait()
        self.program.stop()
        for _, one in self.program.sockets:
            one.close()

    def notices(self, name: str) -> str:
        """keepalived's, that start and stop the unit which asks the cloud: here by a script."""
        script = WORK / f"{name}.notice"
        environment = f"API=http://{API}/v1 FLOATING_IPS=4711 SERVER={1 + list(HOSTS).index(name)} CREDENTIALS_DIRECTORY={WORK} PATH={os.environ['PATH']}"
        script.write_text(
            f"#!/bin/sh\nexec >>{WORK}/{name}.cloud.log 2>&1\n[ ! -e {script}.pid ] || kill -- -$(cat {script}.pid)\nrm -f {script}.pid\n"
            f"[ $1 = stop ] || {{ {environment} setsid {NIXOS}/floating-ip & echo $! >{script}.pid; }}\n"
        )
        script.chmod(0o755)
        return "".join(f'notify_{event} "{script} {verb}" root\n' for event, verb in (("master", "restart"), ("backup", "stop"), ("fault", "stop")))


def keepalived(rendered: dict[str, dict[str, Any]], script: str) -> str:
    """As nixpkgs writes it: nixos/modules/services/networking/keepalived."""
    instance, check = rendered["instance"], rendered["script"]
    lines = [
        "global_defs {",
        "enable_script_security",
        "vrrp_version 3",
        "}",
        "vrrp_script fiscalismia-lb {",
        f'script "{script}"',
        "user nobody",
        *(f"{key} {check[key]}" for key in ("interval", "fall", "rise", "timeout")),
        "}",
        "vrrp_instance fiscalismia-lb {",
        f"interface {instance['interface']}",
        f"state {instance['state']}",
        f"virtual_router_id {instance['virtualRouterId']}",
        f"priority {instance['priority']}",
        "nopreempt" if instance["noPreempt"] else "",
        f"unicast_src_ip {instance['unicastSrcIp']}",
        *block("unicast_peer", instance["unicastPeers"]),
        *block("virtual_ipaddress", [f"{one['addr']} dev {one['dev']}" for one in instance["virtualIps"]]),
        *block("track_script", instance["trackScripts"]),
        *block("track_interface", instance["trackInterfaces"]),
        instance["extraConfig"],
        "}",
    ]
    return "\n".join(lines) + "\n"


def block(word: str, lines: list[str]) -> list[str]:
    return [f"{word} {{", *lines, "}"] if lines else []
