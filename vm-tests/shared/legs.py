"""Addresses and routes of a host, as lines for `ip -batch -`. usage: legs.py TOPOLOGY HOST

As at Hetzner an address stands alone (/32) and a network is reached through its gateway, which is on the link. HOST may be
`fabric`, which is all the gateways: it hands on between a network's hosts, and from a private one to the internet through
the NAT gateway.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any


def main() -> None:
    with open(sys.argv[1]) as file:
        topology = json.load(file)
    host = sys.argv[2]
    print("\n".join(fabric(topology) if host == "fabric" else legs(topology, host)))


def legs(topology: dict[str, Any], host: str) -> Iterator[str]:
    own = topology["hosts"][host]["legs"]
    for name, leg in own.items():
        network, device = topology["networks"][name], leg["interface"]
        yield f"link set {device} up"
        yield from (f"address add {alone(address)} dev {device}{at_once(address)}" for address in leg["addresses"])
        for gateway in network["gateways"]:
            if is_ipv6(gateway) and not any(map(is_ipv6, leg["addresses"])):
                continue
            if not gateway.startswith("fe80:"):
                yield f"route add {alone(gateway)} dev {device} scope link"
            if "cidr" in network:
                yield f"route add {network['cidr']} via {gateway} dev {device}"
            if name == "internet" or "internet" not in own:
                yield f"route add {'::/0' if is_ipv6(gateway) else '0.0.0.0/0'} via {gateway} dev {device}"


def fabric(topology: dict[str, Any]) -> Iterator[str]:
    nat = topology["hosts"]["natgateway"]["legs"]
    for name, network in topology["networks"].items():
        table = "main" if name == "internet" else str(100 + network["vlan"])
        yield f"link set {name} up"
        yield from (f"address add {alone(gateway)} dev {name}{at_once(gateway)}" for gateway in network["gateways"])
        for host in topology["hosts"].values():
            for address in host["legs"].get(name, {"addresses": []})["addresses"]:
                yield f"route add {alone(address)} dev {name} table {table}"
        if table != "main":
            yield f"rule add iif {name} lookup {table} priority {table}"
            yield f"route add 0.0.0.0/0 via {nat[name]['addresses'][0]} dev {name} onlink table {table}"


def alone(address: str) -> str:
    return f"{address}/128" if is_ipv6(address) else f"{address}/32"


def at_once(address: str) -> str:
    """Without asking first whether someone else has the address."""
    return " nodad" if is_ipv6(address) else ""


def is_ipv6(address: str) -> bool:
    return ":" in address


if __name__ == "__main__":
    main()
