"""What the scenarios need to know of a network, with nothing but Python.

netprobe open HOST PORT             exit 0 if the port takes a connection
netprobe scan LAST HOST...          the open TCP ports up to LAST of each host, as JSON
netprobe ping HOST                  exit 0 if an echo is answered
netprobe silence HOST PORT WHAT...  on a connection each, send a hello for the name after `hello:`, or the text after `text:`;
                                    exit 0 if nothing comes back for eight seconds, no end of a connection either
netprobe load NAME SECONDS KEPT     new TLS connections one after another, KEPT open ones beside them; how many, and the longest wait, as JSON
netprobe flood NAME COUNT [ADDRESS] COUNT TLS connections at once; how many were answered, as JSON
netprobe talk HOST PORT SECONDS     print the line that the server says first, then send it some and read them again as long as that
netprobe say PROTOCOL HOST          a packet of that number in IPv4, from this host's own address there
netprobe hear PROTOCOL SECONDS      the senders of such packets meanwhile, as JSON
"""

import errno
import json
import os
import resource
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable

TIMEOUT = 20.0


def main(command: str, *arguments: str) -> None:
    commands: dict[str, Callable[..., None]] = {
        "open": port_is_open,
        "scan": scan,
        "ping": ping,
        "silence": silence,
        "load": load,
        "flood": flood,
        "talk": talk,
        "say": say,
        "hear": hear,
    }
    commands[command](*arguments)


def port_is_open(host: str, port: str) -> None:
    socket.create_connection((host, int(port)), timeout=2).close()


# More at once are lost on the way: a hub that hands on every packet to every port, as that of the VM tests, drops a burst.
BATCH, PAUSE = 1024, 0.3
# The kernel repeats a SYN after one second and after three.
SILENT_AFTER = 3.6
# By descriptor: the connection, its host and port, and until when it may be silent.
Waiting = dict[int, tuple[socket.socket, tuple[str, int], float]]


def scan(last: str, *hosts: str) -> None:
    """A port that answers neither the first SYN nor the repeated ones, with SYN-ACK or RST, is closed by a firewall."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = hard - BATCH - 64
    if most <= 0:
        sys.exit(f"a scan takes more than {hard} files")
    places = [(host, port) for port in range(1, int(last) + 1) for host in hosts]
    poll = select.epoll()
    waiting: Waiting = {}
    found: list[tuple[str, int]] = []
    for first in range(0, len(places), BATCH):
        while len(waiting) > most:
            found += answers(poll, waiting, PAUSE)
        for place in places[first : first + BATCH]:
            family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
            connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if connection.connect_ex(place) == errno.EINPROGRESS:
                waiting[connection.fileno()] = (connection, place, time.monotonic() + SILENT_AFTER)
                poll.register(connection, select.EPOLLOUT)
            else:
                connection.close()
        found += answers(poll, waiting, PAUSE)
    while waiting:
        found += answers(poll, waiting, PAUSE)
    print(json.dumps({host: sorted(port for at, port in found if at == host) for host in hosts}))


def answers(poll: select.epoll, waiting: Waiting, seconds: float) -> list[tuple[str, int]]:
    """The ports that answer within so many seconds. Those that have been silent for long enough are no longer waited for."""
    found = []
    end = time.monotonic() + seconds
    while waiting and (left := end - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left):
            connection, place, _ = waiting.pop(descriptor)
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.append(place)
            connection.close()
    for descriptor in [one for one, (*_, until) in waiting.items() if until < end]:
        waiting.pop(descriptor)[0].close()
    return found


def ping(host: str) -> None:
    ipv6 = ":" in host
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if ipv6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    request, reply = (128, 129) if ipv6 else (8, 0)
    message = struct.pack("!BBHHH", request, 0, 0, os.getpid() & 0xFFFF, 1)
    # The kernel fills in the checksum for IPv6 only.
    total = sum(struct.unpack("!4H", message))
    if not ipv6:
        message = message[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + message[4:]
    with socket.socket(family, socket.SOCK_RAW, protocol) as connection:
        deadline = time.monotonic() + 2
        try:
            connection.sendto(message, (host, 0))
        except PermissionError:
            sys.exit(f"{host}: this host's packet filter forbids it")
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            answer = connection.recv(1500)
            body = answer if ipv6 else answer[4 * (answer[0] & 0xF) :]
            if body[0] == reply and body[4:6] == message[4:6]:
                return
    sys.exit(f"{host}: no echo")


def silence(host: str, port: str, *what: str) -> None:
    connections = [socket.create_connection((host, int(port)), timeout=TIMEOUT) for _ in what]
    for connection, one in zip(connections, what):
        kind, _, text = one.partition(":")
        connection.sendall(client_hello(text or None) if kind == "hello" else text.encode())
    broken, _, _ = select.select(connections, [], [], 8)
    for connection in broken:
        sys.exit(f"{what[connections.index(connection)]}: {'an answer' if receives(connection) else 'an end'}")


def say(protocol: str, host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, int(protocol)) as raw:
        raw.sendto(b"netprobe", (host, 0))


def hear(protocol: str, seconds: str) -> None:
    """Each sender once: what a host's packet filter drops does not come so far."""
    heard = set()
    end = time.monotonic() + float(seconds)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, int(protocol)) as raw:
        print("ready", file=sys.stderr, flush=True)
        while (left := end - time.monotonic()) > 0:
            raw.settimeout(left)
            try:
                packet, (sender, _) = raw.recvfrom(1500)
            except TimeoutError:
                break
            if packet.endswith(b"netprobe"):
                heard.add(sender)
    print(json.dumps(sorted(heard)))


def client_hello(name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class Connection:
    """A TLS connection to a name, for requests one after another."""

    def __init__(self, name: str, context: ssl.SSLContext) -> None:
        self.name = name
        tcp = socket.create_connection(address_of(name), timeout=TIMEOUT)
        self.tls = context.wrap_socket(tcp, server_hostname=name)

    def ask(self) -> None:
        self.tls.sendall(f"GET / HTTP/1.1\r\nHost: {self.name}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"}\n"):
            part = self.tls.recv(4096)
            if not part:
                raise ConnectionError(f"ended after {answer!r}")
            answer += part
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"answered {answer!r}")

    def close(self) -> None:
        self.tls.close()


def load(name: str, seconds: str, kept: str) -> None:
    context = ssl.create_default_context()
    end = time.monotonic() + float(seconds)
    waits, failed = [], []

    def connect_again_and_again() -> None:
        while time.monotonic() < end:
            begun = time.monotonic()
            try:
                connection = Connection(name, context)
                connection.ask()
                connection.close()
                waits.append(time.monotonic() - begun)
            except OSError as error:
                failed.append(f"new connection: {error!r}")

    def ask_again_and_again() -> None:
        try:
            connection = Connection(name, context)
            while time.monotonic() < end:
                connection.ask()
                time.sleep(0.1)
            connection.close()
        except OSError as error:
            failed.append(f"open connection: {error!r}")

    jobs = [connect_again_and_again] * 4 + [ask_again_and_again] * int(kept)
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"done": len(waits), "longest": f"{max(waits, default=0) * 1000:.0f} ms", "kept": int(kept), "failed": failed}))


def flood(name: str, count: str, address: str | None = None) -> None:
    """The connections are told apart by whether a first byte of an answer comes within three seconds."""
    hello = client_hello(name)
    place = (address, 443) if address else address_of(name)
    connections = []
    for _ in range(int(count)):
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.connect_ex(place)
        connections.append(connection)
    end = time.monotonic() + 3
    unsent, answered = set(connections), 0
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLOUT | select.POLLIN)
    by_descriptor = {connection.fileno(): connection for connection in connections}
    while (left := end - time.monotonic()) > 0:
        for descriptor, event in poll.poll(left * 1000):
            connection = by_descriptor[descriptor]
            if connection in unsent and event & select.POLLOUT:
                connection.send(hello)
                unsent.remove(connection)
                poll.modify(connection, select.POLLIN)
            elif event & (select.POLLIN | select.POLLERR | select.POLLHUP):
                poll.unregister(connection)
                answered += receives(connection)
    print(json.dumps({"answered": answered, "connections": int(count)}))


def talk(host: str, port: str, seconds: str) -> None:
    end = time.monotonic() + float(seconds)
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection, connection.makefile("rwb", buffering=0) as stream:
        sys.stdout.write(stream.readline().decode())
        sys.stdout.flush()
        while (left := end - time.monotonic()) > 0:
            said = f"{left}\n".encode()
            stream.write(said)
            if (heard := stream.readline()) != said:
                raise ConnectionError(f"{heard!r} came back for {said!r}")
            time.sleep(0.1)
    if float(seconds) > 1:
        print("done")


def address_of(name: str) -> tuple[str, int]:
    """One address only: a second one to fall back on would hide that the first refused."""
    return (str(socket.getaddrinfo(name, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]), 443)


def receives(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) != b""
    except OSError:
        return False


if __name__ == "__main__":
    main(*sys.argv[1:])
