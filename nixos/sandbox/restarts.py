"""Everything at once that a restart must not touch, for nixos/test-sandbox: what it was like, as JSON.

usage: restarts.py IDLE BYTES. Clients and servers of three names, in the network namespace of the world. It says `ready` on stdout when
all is on its way, goes on until a line comes on stdin, and says then what came of it. Two downloads of so many bytes, an upload and an
echo are paced to last; so many connections are idle; hellos come in pieces; a client waits in a queue; and 100 new ones come a second.
"""

import json
import multiprocessing
import random
import resource
import select
import socket
import sys
import threading
import time
from collections.abc import Callable

from netprobe import client_hello

FRONT = ("203.0.113.10", 443)
# What has to answer soon, and what is bulk, each in a process of its own.
SOON, BULK = ("172.24.0.20", 4443), ("172.24.0.21", 4443)
HELLOS = {name: client_hello(f"{name}.restarts.test") for name in ("soon", "bulk", "one")}
# Of a length that is no multiple of a buffer's, and a piece more, so that each piece of it is one slice.
PERIOD, PIECE = 1_048_583, 1 << 17
PATTERN = random.Random(7).randbytes(PERIOD)
PATTERN = memoryview(PATTERN + PATTERN[:PIECE])
# Seconds that the streams are paced for.
LASTS = 60.0
PATIENCE = 120.0
WELCOME = b"welcome\n"


def main(idle: str, size: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    over, ready, results = multiprocessing.Event(), multiprocessing.Semaphore(0), multiprocessing.Queue()
    length = int(size)
    servers = [multiprocessing.Process(target=serve, args=(place, over), daemon=True) for place in (SOON, BULK)]
    for server in servers:
        server.start()
    # The streams begin late, so that each is on its way at the first restart.
    jobs = [(stay, int(idle)), (wait_long, None), (come, None), (receive, length), (receive, length), (send, length // 8), (echo, length // 8)]
    clients = []
    for job, amount in jobs:
        clients.append(multiprocessing.Process(target=tell, args=(job, amount, over, ready, results)))
        clients[-1].start()
        ready.acquire()
    print("ready", flush=True)
    sys.stdin.readline()
    over.set()
    all_results = [results.get(timeout=PATIENCE) for _ in clients]
    print(json.dumps({name: result for part in all_results for name, result in part.items()}))


def tell(job: Callable[..., dict[str, object]], amount: int | None, over, ready, results) -> None:
    try:
        results.put(job(amount, over, ready))
    except Exception as error:  # noqa: BLE001
        ready.release()
        results.put({"failed": f"{job.__name__}: {error!r}"})


def connect(name: str, word: str) -> socket.socket:
    """The word tells the server what to do."""
    connection = socket.create_connection(FRONT, timeout=PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(HELLOS[name] + word.encode() + b"\n")
    return connection


def exactly(connection: socket.socket, count: int) -> bytes:
    whole = b""
    while len(whole) < count:
        part = connection.recv(count - len(whole))
        if not part:
            raise ConnectionError(f"ended after {len(whole)} of {count} bytes")
        whole += part
    return whole


def welcomed(connection: socket.socket) -> None:
    if exactly(connection, len(WELCOME)) != WELCOME:
        raise ConnectionError("welcomed with other words")


# --- servers


def serve(place: tuple[str, int], over) -> None:
    poll, idle = select.epoll(), {}
    threading.Thread(target=answer_idle, args=(poll, idle), daemon=True).start()
    with socket.create_server(place, backlog=4096) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=welcome, args=(connection, over, poll, idle), daemon=True).start()


def welcome(connection: socket.socket, over, poll: select.epoll, idle: dict[int, socket.socket]) -> None:
    try:
        header = exactly(connection, 16)
        exactly(connection, int.from_bytes(header[14:16], "big"))
        if header[12] & 0xF == 0:
            return connection.close()
        record = exactly(connection, 5)
        exactly(connection, int.from_bytes(record[3:5], "big"))
        word = b""
        while not word.endswith(b"\n"):
            word += exactly(connection, 1)
        what, _, amount = word.decode().strip().partition(" ")
        connection.sendall(WELCOME)
        if what == "idle":
            idle[connection.fileno()] = connection
            return poll.register(connection, select.EPOLLIN)
        if what == "send":
            transmit(connection, int(amount))
        elif what == "receive":
            compare(connection, int(amount), over)
            connection.sendall(b"whole\n")
        elif what == "echo":
            while part := connection.recv(PIECE):
                connection.sendall(part)
        connection.close()
    except OSError:
        connection.close()


def answer_idle(poll: select.epoll, idle: dict[int, socket.socket]) -> None:
    while True:
        for descriptor, _ in poll.poll():
            part = idle[descriptor].recv(64)
            if part:
                idle[descriptor].sendall(part)
            else:
                poll.unregister(descriptor)
                idle.pop(descriptor).close()


def transmit(connection: socket.socket, length: int) -> None:
    sent = 0
    while sent < length:
        at = sent % PERIOD
        sent += connection.send(PATTERN[at : at + min(PIECE, length - sent)])


def compare(connection: socket.socket, length: int, over) -> None:
    """Takes in a stream, no faster than it is to last, and fails where it is not the one that was sent."""
    buffer = memoryview(bytearray(PIECE))
    came, begun = 0, time.monotonic()
    while count := connection.recv_into(buffer):
        if buffer[:count] != PATTERN[came % PERIOD : came % PERIOD + count]:
            raise ConnectionError(f"another byte than was sent, in the {count} after {came}")
        came += count
        while came > length * (time.monotonic() - begun) / LASTS and not over.is_set():
            time.sleep(0.002)
        if came >= length:
            break
    if came != length:
        raise ConnectionError(f"{came} of {length} bytes came")


# --- clients


def stay(count: int, over, ready) -> dict[str, object]:
    idle = [connect("soon", "idle") for _ in range(count)]
    for connection in idle:
        welcomed(connection)
    ready.release()
    over.wait()
    kept = 0
    for number, connection in enumerate(idle):
        word = number.to_bytes(4, "big")
        connection.sendall(word)
        kept += exactly(connection, 4) == word
    return {"idle": kept}


def wait_long(_: None, over, ready) -> dict[str, object]:
    """Hellos in pieces, and a client in the queue behind another one."""
    first = connect("one", "idle")
    welcomed(first)
    queued = connect("one", "new")
    late = [socket.create_connection(FRONT, timeout=PATIENCE) for _ in range(5)]
    hello = HELLOS["soon"]
    sent = 0
    ready.release()
    while not over.wait(0.2):
        for connection in late if sent < len(hello) - 1 else []:
            connection.sendall(hello[sent : sent + 1])
        sent = min(sent + 1, len(hello) - 1)
    for connection in late:
        connection.sendall(hello[sent:] + b"new\n")
        welcomed(connection)
    first.close()
    welcomed(queued)
    return {"late": len(late), "queued": 1}


def come(_: None, over, ready) -> dict[str, object]:
    """One every 10 ms, whether or not those before it have been served."""
    poll, begun, waits, refused = select.epoll(), {}, [], []
    hello = HELLOS["soon"] + b"new\n"
    ready.release()
    following = time.monotonic()
    while not over.is_set() or begun:
        if not over.is_set() and time.monotonic() >= following:
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            connection.connect_ex(FRONT)
            begun[connection.fileno()] = (connection, time.monotonic())
            poll.register(connection, select.EPOLLOUT)
            following += 0.01
        for descriptor, event in poll.poll(max(0.0, min(0.01, following - time.monotonic()))):
            connection, at = begun[descriptor]
            try:
                if event == select.EPOLLOUT:
                    connection.send(hello)
                    poll.modify(connection, select.EPOLLIN)
                    continue
                if not connection.recv(64).startswith(b"w"):
                    raise ConnectionError("ended without an answer")
                waits.append(time.monotonic() - at)
            except OSError as error:
                refused.append(repr(error))
            poll.unregister(connection)
            begun.pop(descriptor)[0].close()
    waits.sort()
    told = {"half": waits[len(waits) // 2], "99 %": waits[len(waits) * 99 // 100], "all": waits[-1]}
    return {"new": len(waits), "refused": refused[:5], "waited": {part: f"{wait * 1000:.0f} ms" for part, wait in told.items()}}


def receive(length: int, over, ready) -> dict[str, object]:
    connection = connect("bulk", f"send {length}")
    welcomed(connection)
    ready.release()
    compare(connection, length, over)
    if connection.recv(1):
        raise ConnectionError("more came than was sent")
    return {f"download {multiprocessing.current_process().name}": length}


def send(length: int, over, ready) -> dict[str, object]:
    connection = connect("bulk", f"receive {length}")
    welcomed(connection)
    ready.release()
    transmit(connection, length)
    if exactly(connection, len(b"whole\n")) != b"whole\n":
        raise ConnectionError("the upload is not whole")
    return {"upload": length}


def echo(length: int, over, ready) -> dict[str, object]:
    connection = connect("bulk", "echo")
    welcomed(connection)
    ready.release()
    threading.Thread(target=transmit, args=(connection, length), daemon=True).start()
    compare(connection, length, over)
    return {"echo": length}


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    main(*sys.argv[1:])
