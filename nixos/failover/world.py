"""This namespace is the world: the client, the server and the gateways, with a bridge for each network of the two hosts."""

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "vm-tests/shared"))
from netprobe import client_hello  # noqa: E402

VIP, SERVER, API = "203.0.113.50", "172.24.0.3", "203.0.113.1:8080"
# The public and the private address of each.
HOSTS = {"first": ("203.0.113.10", "172.24.1.3"), "second": ("203.0.113.11", "172.24.1.6")}
WORK = Path("/run/failover")
NEW_NETWORK = 0x40000000
HELLO = client_hello("fiscalismia.com")


def run(command: str) -> str:
    return subprocess.run(command.split(), check=True, stdout=subprocess.PIPE, text=True).stdout


def connect() -> None:
    for network, address in (("public", "203.0.113.1/24"), ("private", f"{SERVER}/23")):
        run(f"ip link add {network} type bridge mcast_snooping 0")
        run(f"ip address add {address} dev {network}")
        run(f"ip link set {network} up")
    run("ip address add 172.24.0.1/23 dev private")
    for name, (public, private) in HOSTS.items():
        run(f"ip netns add {name}")
        run(f"ip -n {name} link set lo up")
        for network, device, address in (("public", "enp1s0", f"{public}/24"), ("private", "enp8s0", f"{private}/23")):
            end = f"{network}-{name}"
            run(f"ip link add {end} type veth peer name {device} netns {name}")
            run(f"ip link set {end} master {network} up")
            run(f"ip -n {name} address add {address} dev {device}")
            run(f"ip -n {name} link set {device} up")


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """What this thread opens and starts meanwhile, it does on that host."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{name}") as there:
        try:
            enter(libc, there.fileno())
            yield
        finally:
            enter(libc, before.fileno())


def enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def serve() -> None:
    """A server that answers whatever begins with a PROXY header."""
    with socket.create_server((SERVER, 443), backlog=512) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(1)
                try:
                    if connection.recv(4096).startswith(b"\r\n\r\n\0\r\nQUIT\n"):
                        connection.sendall(b"served")
                except OSError:
                    pass


def is_served(patience: float) -> bool:
    """Whether a client that connects now has an answer within so many seconds."""
    try:
        with socket.create_connection((VIP, 443), timeout=patience) as connection:
            connection.sendall(HELLO)
            return connection.recv(16) == b"served"
    except OSError:
        return False
