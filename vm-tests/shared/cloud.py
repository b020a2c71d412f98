"""As much of Hetzner's API as leads a floating IP to a server, and the route that comes of it.

usage: cloud.py ADDRESS:PORT TOKEN FLOATING_IP_ID ADDRESS SERVER_ID=GATEWAY…
"""

import http.server
import json
import subprocess
import sys


class Cloud(http.server.BaseHTTPRequestHandler):
    token: str
    path_of_ip: str
    address: str
    gateways: dict[int, str]
    server_of_ip: int | None = None

    def do_GET(self) -> None:
        self.reply(self.path == self.path_of_ip, {"floating_ip": {"server": Cloud.server_of_ip}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_good = self.path == f"{self.path_of_ip}/actions/assign" and body["server"] in self.gateways
        if is_good and self.is_known():
            Cloud.server_of_ip = body["server"]
            subprocess.run(["ip", "route", "replace", self.address, "via", self.gateways[body["server"]]], check=True)
        self.reply(is_good, {"action": {"status": "success"}})

    def is_known(self) -> bool:
        return bool(self.headers["Authorization"] == f"Bearer {self.token}")

    def reply(self, is_found: bool, body: dict[str, object]) -> None:
        self.send_response(200 if self.is_known() and is_found else 404 if self.is_known() else 401)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


def main() -> None:
    address, Cloud.token, floating_ip, Cloud.address, *gateways = sys.argv[1:]
    Cloud.path_of_ip = f"/v1/floating_ips/{floating_ip}"
    Cloud.gateways = {int(server): gateway for server, gateway in (pair.split("=") for pair in gateways)}
    host, port = address.split(":")
    http.server.ThreadingHTTPServer((host, int(port)), Cloud).serve_forever()


if __name__ == "__main__":
    main()
