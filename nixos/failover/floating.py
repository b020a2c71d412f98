"""nixos/floating-ip by itself, against an API that fails, lags behind and is refused."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time

from .host import NIXOS
from .world import WORK


class Cloud(http.server.BaseHTTPRequestHandler):
    """One floating IP. It fails at first, and tells of an assignment late."""

    asked: list[tuple[float, str]] = []
    assigned = 7

    def do_GET(self) -> None:
        self.asked.append((time.monotonic(), "GET"))
        if len(self.asked) <= 2:
            return self.answer(503, {"error": {"code": "unavailable"}})
        gets = sum(verb == "GET" for _, verb in self.asked)
        self.answer(200, {"floating_ip": {"id": 4711, "server": Cloud.assigned if gets > 4 else 7}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((time.monotonic(), "POST"))
        if self.path != "/v1/floating_ips/4711/actions/assign" or self.headers["Authorization"] != "Bearer secret":
            return self.answer(401, {})
        Cloud.assigned = body["server"]
        self.answer(201, {"action": {"status": "running"}})

    def answer(self, code: int, body: dict[str, object]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


def floating_ip() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "API": f"http://127.0.0.1:{server.server_port}/v1",
        "FLOATING_IPS": "4711",
        "SERVER": "42",
        "CREDENTIALS_DIRECTORY": str(WORK),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run([NIXOS / "floating-ip"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    times = [at for at, verb in Cloud.asked if verb == "GET"]
    waits = [later - earlier for earlier, later in zip(times, times[1:])]
    verbs = " ".join(verb for _, verb in Cloud.asked)
    print(f"floating IP: {verbs}, waits {', '.join(f'{wait:.2f}' for wait in waits)}", flush=True)
    good = done.returncode == 0 and Cloud.assigned == 42 and re.search("leads to server 42$", done.stdout)
    if not good or verbs != "GET GET GET POST GET POST GET" or "secret" in done.stdout + done.stderr:
        sys.exit(f"test-failover: floating IP: {done.returncode} {verbs}\n{done.stdout}{done.stderr}")
    # It sleeps for so long at the least, and longer each time.
    if any(wait < least for wait, least in zip(waits, (0.25, 0.5, 1.0, 2.0))):
        sys.exit(f"test-failover: floating IP: no longer waits: {waits}")
