"""Clients without any right at a proxy with little memory, for nixos/sandbox/memory: what that took and how others fared, as JSON.

usage: memory.py CGROUP SECONDS [KIND]. The proxy's cgroup, how long the hellos are to come, and what the slow readers are: `stalled`
(half read nothing, half a little now and then) or `sudden` (each reads much at once first, so that the kernel's buffers grow, and then
nothing). It says `slow readers` and `hellos` on stderr as they have come.
"""

import contextlib
import json
import multiprocessing
import pathlib
import resource
import select
import socket
import sys
import threading
import time

from netprobe import client_hello

FRONT = ("203.0.113.10", 443)
BULK, GUEST = ("172.24.0.20", 4443), ("172.24.0.21", 4443)
SLOW, HELLOS = 1000, 4096
PATIENCE = 400.0
# Bytes of a hello that a client gets room for without being asked (src/session/memory.rs), and clients that want more.
FREE, MORE = 20 * 1024, 125
SUDDEN = 8 << 20


def main(cgroup: str, seconds: str, kind: str = "stalled") -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    watch = Watch(pathlib.Path(cgroup))
    start(serve_bulk)
    start(serve_guests)
    guests = Guests()
    while not guests.waits:
        guests.go_on(1)
    guests.take()
    guests.go_on(3)
    quiet = guests.take()
    come = multiprocessing.Event()
    start(read_slowly, kind, come)
    guests.until(come)
    guests.go_on(10)
    print("slow readers", flush=True, file=sys.stderr)
    beside_readers, readers = guests.take(), watch.most()
    come = multiprocessing.Event()
    start(send_hellos, come)
    guests.until(come)
    print("hellos", flush=True, file=sys.stderr)
    guests.go_on(int(seconds))
    result = {
        "guests alone": quiet,
        "beside the slow readers": beside_readers | readers,
        "beside the hellos": guests.take() | watch.most(),
        "kills": watch.kills(),
    }
    print(json.dumps(result))


def start(job, *arguments: object) -> None:
    multiprocessing.Process(target=job, args=arguments, daemon=True).start()


class Watch:
    """The most memory that a cgroup has had, in MB, by looking ten times a second."""

    def __init__(self, cgroup: pathlib.Path) -> None:
        self.cgroup, self.seen = cgroup, {}
        threading.Thread(target=self.look, daemon=True).start()

    def number(self, file: str) -> int:
        return int((self.cgroup / file).read_text())

    def table(self, file: str) -> dict[str, int]:
        return {key: int(value) for key, value in (line.split() for line in (self.cgroup / file).read_text().splitlines())}

    def now(self) -> dict[str, int]:
        """`all` and what it consists of."""
        if (self.cgroup / "memory.current").exists():
            return {"all": self.number("memory.current")} | {key: self.table("memory.stat").get(key, 0) for key in ("sock", "anon", "kernel", "file")}
        # Version 1 counts sockets apart.
        sock, user = self.number("memory.kmem.tcp.usage_in_bytes"), self.number("memory.usage_in_bytes")
        return {"all": sock + user, "sock": sock, "kernel": self.number("memory.kmem.usage_in_bytes"), "anon": self.table("memory.stat")["rss"]}

    def look(self) -> None:
        while True:
            for key, count in self.now().items():
                self.seen[key] = max(self.seen.get(key, 0), count)
            time.sleep(0.1)

    def most(self) -> dict[str, int]:
        seen, self.seen = self.seen, {}
        return {key: round(count / 1e6) for key, count in seen.items()}

    def kills(self) -> int:
        """Processes of the cgroup that were killed for want of memory."""
        files = [file for file in ("memory.events", "memory.oom_control") if (self.cgroup / file).exists()]
        return self.table(files[0])["oom_kill"]


class Guests:
    """One every second, whether or not those before have been served."""

    def __init__(self) -> None:
        self.hello, self.waits, self.failed, self.all = client_hello("guest.test"), [], [], []

    def go_on(self, seconds: int) -> None:
        for _ in range(seconds):
            self.come()

    def until(self, event) -> None:
        end = time.monotonic() + PATIENCE
        while not event.is_set() and time.monotonic() < end:
            self.come()

    def come(self) -> None:
        self.all.append(threading.Thread(target=self.visit, daemon=True))
        self.all[-1].start()
        time.sleep(1)

    def visit(self) -> None:
        begun = time.monotonic()
        try:
            with socket.create_connection(FRONT, timeout=PATIENCE) as connection:
                connection.sendall(self.hello)
                if connection.recv(64) != b"welcome\n":
                    raise ConnectionError("ended without an answer")
            self.waits.append(time.monotonic() - begun)
        except OSError as error:
            self.failed.append(f"{error!r} after {time.monotonic() - begun:.1f} s")

    def take(self) -> dict[str, object]:
        for thread in self.all:
            thread.join()
        waits, failed = sorted(self.waits), self.failed
        self.waits, self.failed, self.all = [], [], []
        return {"served": len(waits), "failed": failed, "seconds": [round(waits[len(waits) * part // 4], 2) for part in range(4)] + [round(waits[-1], 2)] if waits else []}


# --- servers


def serve_bulk() -> None:
    """Sends without end to each that has spoken."""
    chunk = bytes(1 << 20)

    def go_on(connection: socket.socket, event: int) -> int:
        if event & select.EPOLLIN and not connection.recv(1 << 16):
            raise ConnectionError
        while True:
            connection.send(chunk)

    serve(BULK, go_on)


def serve_guests() -> None:
    def go_on(connection: socket.socket, _: int) -> None:
        if connection.recv(1 << 16):
            connection.sendall(b"welcome\n")
        raise ConnectionError

    serve(GUEST, go_on)


def serve(place: tuple[str, int], go_on) -> None:
    poll, connections = select.epoll(), {}
    with socket.create_server(place, backlog=4096) as listener:
        poll.register(listener, select.EPOLLIN)
        while True:
            for descriptor, event in poll.poll():
                if descriptor == listener.fileno():
                    connection, _ = listener.accept()
                    connection.setblocking(False)
                    connections[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN | select.EPOLLET)
                    continue
                try:
                    go_on(connections[descriptor], event)
                except BlockingIOError:
                    poll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
                except OSError:
                    poll.unregister(descriptor)
                    connections.pop(descriptor).close()


# --- clients


def read_slowly(kind: str, come) -> None:
    hello = client_hello("bulk.test")
    connections = []
    for _ in range(SLOW):
        connections.append(socket.create_connection(FRONT, timeout=PATIENCE))
        connections[-1].sendall(hello)
    for connection in connections:
        taken = 1
        connection.recv(1)
        while kind == "sudden" and taken < SUDDEN:
            taken += len(connection.recv(1 << 18))
        connection.setblocking(False)
    come.set()
    while True:
        time.sleep(1)
        for connection in connections[::2] if kind == "stalled" else []:
            with contextlib.suppress(BlockingIOError):
                connection.recv(512)


def send_hellos(come) -> None:
    """Each as fat as it may be, and none whole; another comes for each that is ended."""
    body = bytes([1, 0, 0x7F, 0xFC]) + bytes([7]) * (32 * 1024 - 4)
    raw = b"".join(b"\x16\x03\x01\x00\x03" + body[at : at + 3] for at in range(0, len(body), 3))
    poll, connections, sent = select.epoll(), {}, 0

    def open_one(number: int) -> None:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.connect_ex(FRONT)
        connections[connection.fileno()] = [connection, number, raw[:-16] if number < MORE else raw[:FREE]]
        poll.register(connection, select.EPOLLOUT | select.EPOLLIN)

    for number in range(HELLOS):
        open_one(number)
    while True:
        for descriptor, event in poll.poll():
            connection, number, rest = connections[descriptor]
            try:
                if event & (select.EPOLLERR | select.EPOLLHUP) or event & select.EPOLLIN and not connection.recv(1024):
                    raise ConnectionError
                if event & select.EPOLLOUT:
                    connections[descriptor][2] = rest = rest[connection.send(rest) :]
                    if not rest:
                        sent += 1
                        poll.modify(descriptor, select.EPOLLIN)
            except BlockingIOError:
                pass
            except OSError:
                poll.unregister(descriptor)
                connections.pop(descriptor)[0].close()
                open_one(number)
        if sent >= HELLOS:
            come.set()


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    main(*sys.argv[1:])
