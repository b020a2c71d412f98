import json
import re

ROUTES = {
    "fiscalismia.com": "172.24.0.3",
    "backend.fiscalismia.com": "172.24.0.4",
    "demo.fiscalismia.com": "172.20.0.2",
    "backend.demo.fiscalismia.com": "172.20.0.2",
    "monitoring.fiscalismia.com": "172.24.0.2",
}
CLIENT = "198.51.100.7"
CLIENT_IPV6 = "2001:db8:2::7"
PUBLIC = "203.0.113.10"
PUBLIC_IPV6 = "2001:db8:1::10"
METRICS = "curl --silent --show-error --fail --max-time 5 http://172.24.1.3:8404/metrics"


def start_and_wait() -> None:
    """The servers first: one that does not answer the first probe is out until its second good one."""
    servers = (demo, frontend, backend, monitoring)
    for server in servers:
        server.start()
    for server in servers:
        server.wait_for_open_port(443)
    start_all()
    loadbalancer.wait_for_unit("fiscalismia-lb.service")
    client.wait_until_succeeds(ask("fiscalismia.com"), timeout=60)


def ask(name: str, options: str = "") -> str:
    """The command by which the client asks a server who it takes the client for."""
    return f"curl --silent --show-error --fail --max-time 20 {options} https://{name}/"


def answer(name: str, options: str = "") -> dict[str, str]:
    told: dict[str, str] = json.loads(client.succeed(ask(name, options)))
    return told


def metric(series: str) -> float:
    """The value of one series, labels and all, as monitoring is told it."""
    for line in monitoring.succeed(METRICS).splitlines():
        if line.startswith(f"{series} "):
            return float(line.rsplit(" ", 1)[1])
    raise Exception(f"no {series} in /metrics")


def journal() -> str:
    """All that the load balancer has said so far; what it said last may still be on its way to the journal."""
    told: str = loadbalancer.succeed("journalctl --sync && journalctl --unit fiscalismia-lb --output cat")
    return told


def wait_for_log(pattern: str) -> None:
    """Until the load balancer has said so: the journal gets a line some time after its cause."""
    retry(lambda _: re.search(pattern, journal()) is not None, timeout=20)


