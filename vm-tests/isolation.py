start_and_wait()
for machine in (bastion, sentinel, natgateway):
    machine.wait_for_unit("sshd.service")
client.wait_for_unit("nginx.service")


def open_ports(machine, address: str, last: int = 65535) -> list[int]:  # type: ignore[no-untyped-def]
    return open_ports_of_all(machine, [address], last)[address]


def open_ports_of_all(machine, addresses: list[str], last: int) -> dict[str, list[int]]:  # type: ignore[no-untyped-def]
    found: dict[str, list[int]] = json.loads(machine.succeed(f"netprobe scan {last} {' '.join(addresses)}"))
    return found


with subtest("from the internet only TLS, the redirect and ping answer"):
    t.assertEqual(open_ports(client, PUBLIC), [80, 443])
    t.assertEqual(open_ports(client, PUBLIC_IPV6, 10000), [80, 443])
    t.assertEqual(open_ports(sentinel, PUBLIC, 10000), [80, 443])
    for address in (PUBLIC, PUBLIC_IPV6):
        client.succeed(f"netprobe ping {address}")

with subtest("from the private networks only ssh for the bastion and the admin port for monitoring answer"):
    t.assertEqual(open_ports(sentinel, "172.24.1.3"), [])
    for machine, address, ports in (
        (bastion, "172.24.1.3", [22]),
        (monitoring, "172.24.1.3", [8404]),
        (frontend, "172.24.1.3", []),
        (sentinel, "172.20.1.3", []),
        (demo, "172.20.1.3", []),
    ):
        t.assertEqual(open_ports(machine, address, 10000), ports)
    sentinel.fail("netprobe ping 172.24.1.3")

with subtest("the load balancer reaches its servers, on their port and no other"):
    t.assertEqual(open_ports(loadbalancer, "172.24.0.3"), [443])
    servers = sorted(set(ROUTES.values()))
    t.assertEqual(open_ports_of_all(loadbalancer, servers, 10000), {address: [443] for address in servers})
    # The others listen too, as the bastion can see.
    t.assertEqual(open_ports(bastion, "172.24.0.3", 10000), [80, 443, 8443, 8444, 8445])

with subtest("the load balancer reaches no private host that is no server"):
    bastion.succeed("netprobe open 172.24.1.5 22")
    others = ["172.24.1.2", "172.24.1.4", "172.24.1.5", "172.20.1.2", "172.20.1.5"]
    t.assertEqual(open_ports_of_all(loadbalancer, others, 10000), {address: [] for address in others})
    for address in others:
        loadbalancer.fail(f"netprobe ping {address}")

with subtest("the load balancer starts nothing on the public interface"):
    for source in ("enp1s0", PUBLIC):
        loadbalancer.fail(f"curl --silent --max-time 2 --interface {source} http://{CLIENT}/")
    loadbalancer.fail(f"netprobe ping {CLIENT}")
    loadbalancer.fail(f"netprobe ping {CLIENT_IPV6}")
    loadbalancer.fail(f"curl --silent --max-time 2 'http://[{CLIENT_IPV6}]/'")

with subtest("updates come through the NAT gateway, and carry its address"):
    t.assertEqual(loadbalancer.succeed(f"curl --silent --max-time 5 http://{CLIENT}/").strip(), "203.0.113.14")


def sent_by(interface: str) -> int:
    told = json.loads(loadbalancer.succeed(f"ip -json -statistics link show {interface}"))
    count: int = told[0]["stats64"]["tx"]["bytes"]
    return count


with subtest("replies to clients leave by the public interface"):
    before = {name: sent_by(name) for name in ("enp1s0", "enp7s0", "enp8s0")}
    client.succeed("curl --silent --fail --max-time 20 --output /dev/null https://fiscalismia.com/megabyte")
    sent = {name: sent_by(name) - count for name, count in before.items()}
    t.assertGreater(sent["enp1s0"], 1_000_000)
    t.assertLess(sent["enp7s0"] + sent["enp8s0"], 200_000)

with subtest("VRRP passes with the second load balancer, and with no other host"):
    loadbalancer.succeed("netprobe hear 112 12 >/run/heard.json 2>/run/heard.ready &")
    loadbalancer.wait_until_succeeds("test -s /run/heard.ready")
    for machine in (second, sentinel, bastion, frontend):
        machine.succeed("netprobe say 112 172.24.1.3")
    for machine in (sentinel, demo):
        machine.succeed("netprobe say 112 172.20.1.3")
    for address in (PUBLIC, "172.24.1.3"):
        client.succeed(f"netprobe say 112 {address}")
    loadbalancer.wait_until_succeeds("test -s /run/heard.json", timeout=60)
    t.assertEqual(json.loads(loadbalancer.succeed("cat /run/heard.json")), ["172.24.1.6"])
    loadbalancer.succeed("netprobe say 112 172.24.1.6")
    for address in ("172.24.1.5", "172.20.1.5", CLIENT):
        loadbalancer.fail(f"netprobe say 112 {address}")
