"""What clients see and where the address is, looked at twenty times a second."""

import concurrent.futures
import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .host import Host
from .world import WORK, is_served

EVERY = 0.05


@dataclasses.dataclass
class Longest:
    """The longest row of bad looks: how many, which a busy machine makes fewer and never more, and for how many seconds."""

    looks: int = 0
    seconds: float = 0.0
    row: int = 0
    since: float = 0.0

    def add(self, is_bad: bool, now: float) -> None:
        self.row, self.since = (self.row + 1, self.since if self.row else now) if is_bad else (0, now)
        self.looks = max(self.looks, self.row)
        self.seconds = max(self.seconds, now - self.since)


@dataclasses.dataclass
class Seen:
    unserved: Longest
    both: Longest
    nobody: Longest
    # How many clients there were, and how often each host had the address.
    clients: int
    held: dict[str, int]


def watch(hosts: list[Host], seconds: float, patience: float, meanwhile: Callable[[], None]) -> Seen:
    """A client connects every 50 ms, whatever became of those before."""
    seen = Seen(Longest(), Longest(), Longest(), 0, {host.name: 0 for host in hosts})
    end = time.monotonic() + seconds
    acting = threading.Thread(target=meanwhile)
    acting.start()
    clients: list[tuple[float, concurrent.futures.Future[bool]]] = []
    with concurrent.futures.ThreadPoolExecutor(128) as pool:
        while (now := time.monotonic()) < end or acting.is_alive():
            clients.append((now, pool.submit(is_served, patience)))
            holders = [host.name for host in hosts if host.has_address()]
            for name in holders:
                seen.held[name] += 1
            seen.both.add(len(holders) > 1, now)
            seen.nobody.add(not holders, now)
            time.sleep(max(0.0, now + EVERY - time.monotonic()))
    seen.clients = len(clients)
    for at, client in clients:
        seen.unserved.add(not client.result(), at)
    return seen


def wait(what: str, condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            fail(f"not in {seconds} s: {what}")
        time.sleep(EVERY)


def fail(why: str) -> None:
    for log in sorted([*WORK.glob("*.log"), *Path("/var/log").glob("*.log")]):
        print(f"--- {log.name}\n{log.read_text()[-3000:]}")
    sys.exit(f"test-failover: {why}")
