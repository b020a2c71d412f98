"""Bridges and cables between the hosts' namespaces; this process's own namespace is the fabric, with all the gateways."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Keys of a .network file that change nothing for addresses that are given and never asked for.
WITHOUT_EFFECT = {"DHCP", "IPv6AcceptRA", "LLMNR", "MulticastDNS", "LinkLocalAddressing"}


def connect(topology: dict[str, Any], pids: dict[str, int], gateways: list[str]) -> None:
    lines = ["link set lo up"]
    for name in topology["networks"]:
        lines += [f"link add name {name} type bridge mcast_snooping 0", f"link set {name} up"]
    for host, pid in pids.items():
        for name, leg in topology["hosts"][host]["legs"].items():
            end = f"{host}{topology['networks'][name]['vlan']}"
            lines += [
                f"link add name {end} type veth peer name {leg['interface']} netns {pid}",
                f"link set {end} master {name} up",
            ]
    batch(lines + gateways)
    load([], BURSTS)
    forward([])


# The hub of the VM tests hands on every packet to every port, and loses what comes beyond some thousand at once.
BURSTS = """
table inet hub {
  chain forward {
    type filter hook forward priority 0;
    tcp flags & (syn | ack) == syn limit rate over 10500/second burst 3300 packets drop
  }
}
"""


def forward(inside: list[str]) -> None:
    """Makes a router of a namespace, one that tells nobody of a shorter way, and asks nobody where a packet came from."""
    for setting in ("ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/conf/*/send_redirects=0", "ipv4/conf/*/rp_filter=0"):
        write(inside, setting)


def redirects_sent() -> int:
    """How many hosts the fabric has told of a shorter way, which is none: RFC 792's redirect, by /proc/net/snmp."""
    names, values = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Icmp:")]
    return int(dict(zip(names, values))["OutRedirects"])


def check_senders(inside: list[str]) -> None:
    """systemd's sysctl.d/50-default.conf, which NixOS has too: a sender must be one that could be answered, by any device."""
    write(inside, "ipv4/conf/*/rp_filter=2")


# NixOS's firewall on the load balancer: a sender must be one that would be answered by the device that its packet came by.
RPFILTER = """
table inet nixos-fw {
  chain rpfilter {
    type filter hook prerouting priority mangle + 10; policy drop;
    fib saddr . mark . iif oif exists accept
  }
}
"""


def filter_reverse_path(inside: list[str]) -> None:
    check_senders(inside)
    load(inside, RPFILTER)


def load(inside: list[str], rules: str) -> None:
    subprocess.run([*inside, "nft", "--file", "-"], input=rules, text=True, check=True)


def write(inside: list[str], setting: str) -> None:
    """For every device, where the path has a star."""
    path, value = setting.split("=")
    loop = f"for file in /proc/sys/net/{path}; do echo {value} >$file || exit; done"
    subprocess.run([*inside, "sh", "-c", loop], check=True)


def batch(lines: list[str], inside: list[str] | None = None) -> None:
    subprocess.run([*(inside or []), "ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def networkd_files(rendered: Path) -> list[str]:
    """As `nixos/render` leaves them, a file each, or all in one as an evaluation's artefacts."""
    evaluated = rendered / "networkd.json"
    if evaluated.exists():
        return list(json.loads(evaluated.read_text()).values())
    return [file.read_text() for file in sorted(rendered.glob("*.network"))]


def of_networkd(text: str) -> Iterator[str]:
    """What systemd-networkd does on reading a .network file, as lines for `ip -batch -`; what it does not know is an error."""
    sections = [read_section(part) for part in text.split("\n[") if part.strip()]
    device = dict(sections[0][1])["Name"]
    yield f"link set {device} up"
    for name, pairs in sections[1:]:
        match name:
            case "Network":
                yield from (f"address add {value} dev {device}" for key, value in pairs if key == "Address")
                unknown = {key for key, _ in pairs} - WITHOUT_EFFECT - {"Address"}
                if unknown:
                    raise ValueError(f"{device}: [Network] {unknown}")
            case "Link":
                mtu = dict(pairs)
                yield f"link set {device} mtu {mtu.pop('MTUBytes')}"
                if mtu:
                    raise ValueError(f"{device}: [Link] {mtu}")
            case "Route":
                yield route(device, dict(pairs))
            case "RoutingPolicyRule":
                rule = dict(pairs)
                yield f"rule add from {rule.pop('From')} lookup {rule.pop('Table')} priority {rule.pop('Priority')}"
                if rule:
                    raise ValueError(f"{device}: [RoutingPolicyRule] {rule}")
            case _:
                raise ValueError(f"{device}: [{name}]")


def read_section(text: str) -> tuple[str, list[tuple[str, str]]]:
    name, _, body = text.removeprefix("[").partition("]")
    return name, [(key, value) for key, _, value in (line.partition("=") for line in body.split("\n")) if key]


def route(device: str, keys: dict[str, str]) -> str:
    gateway = keys.pop("Gateway", None)
    kind = keys.pop("Type", None)
    everywhere = "::/0" if gateway and ":" in gateway else "0.0.0.0/0"
    words = ["route add", kind or "", keys.pop("Destination", everywhere)]
    words += [f"via {gateway}"] if gateway else []
    words += [] if kind == "unreachable" else [f"dev {device}"]
    words += ["onlink"] if keys.pop("GatewayOnLink", "no") in ("yes", "true") else []
    for key, word in (("Scope", "scope"), ("Table", "table"), ("Metric", "metric")):
        words += [f"{word} {keys.pop(key)}"] if key in keys else []
    if keys:
        raise ValueError(f"[Route] {keys}")
    return " ".join(words)
