start_and_wait()
second.wait_for_unit("fiscalismia-lb.service")
balancer.wait_for_unit("haproxy.service")

BALANCER = "203.0.113.20"
# What servers see each load balancer as.
FIRST, SECOND = {"172.24": "172.24.1.3", "172.20": "172.20.1.3"}, {"172.24": "172.24.1.6", "172.20": "172.20.1.6"}
OTHER_CLIENT = "198.51.100.8"


def through(name: str, source: str = CLIENT) -> str:
    return ask(name, f"--interface {source} --resolve {name}:443:{BALANCER}")


def told_by_all() -> str:
    return journal() + str(second.succeed("journalctl --sync && journalctl --unit fiscalismia-lb --output cat"))


client.wait_until_succeeds(through("fiscalismia.com"), timeout=60)
# Both are taken for up, once their servers are.
for part in (FIRST, SECOND):
    client.wait_until_succeeds(f"{through('fiscalismia.com')} | grep --fixed-strings {part['172.24']}", timeout=60)

with subtest("through a balancer in front, by either load balancer, every server knows the client"):
    for name, address in ROUTES.items():
        told = [json.loads(client.succeed(through(name))) for _ in range(4)]
        t.assertEqual({(one["forwarded_for"], one["server"], one["name"]) for one in told}, {(CLIENT, address, name)})
        t.assertEqual({one["peer"] for one in told}, {FIRST[address[:6]], SECOND[address[:6]]})

with subtest("nginx logs the client's address"):
    for leg in ("172.24.1.3", "172.24.1.6"):
        line = f"{CLIENT} by {leg} for fiscalismia.com: 200"
        frontend.wait_until_succeeds(f"grep --line-regexp --fixed-strings '{line}' /var/log/nginx/access.log", timeout=20)

with subtest("the log has the client, and nothing of the balancer or its checks"):
    connected = rf"(?m)^{CLIENT}:\d+ \[.*\] https_ingress frontend/172\.24\.0\.3:443 CONNECT "
    retry(lambda _: re.search(connected, told_by_all()) is not None, timeout=20)
    t.assertNotIn(f"{BALANCER}:", told_by_all())

with subtest("limits count the client, not the balancer"):
    # Fifty in five seconds at each of the two.
    client.succeed(f"netprobe flood fiscalismia.com 400 {BALANCER}")
    client.succeed(through("fiscalismia.com", OTHER_CLIENT))
    refused = re.findall(r"(?m)^(\S+):\d+ .* drop=RATE_LIMITED ", told_by_all())
    t.assertGreater(len(refused), 100)
    t.assertEqual(set(refused), {CLIENT})

with subtest("a header from anywhere else is not read"):
    client.fail(ask("fiscalismia.com", f"--interface {OTHER_CLIENT} --haproxy-protocol --max-time 3"))
    wait_for_log("a PROXY header, which is not accepted from here")

with subtest("a load balancer that goes leaves its clients to the other"):
    second.succeed("ip link set enp1s0 down")
    four = f"for _ in 1 2 3 4; do {through('backend.fiscalismia.com', OTHER_CLIENT)} | grep --fixed-strings 172.24.1.3 || exit; done"
    client.wait_until_succeeds(four, timeout=60)
