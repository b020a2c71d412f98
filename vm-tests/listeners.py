database.start()
database.wait_for_open_port(5432)
start_and_wait()
CHALLENGE = "/.well-known/acme-challenge/token"
STATS = "curl --silent --show-error --fail --user 'operator:correct horse' 'http://172.24.1.3:8404"


def fetch(url: str, options: str = "") -> str:
    told: str = client.succeed(f"curl --silent --show-error --max-time 10 {options} {url}")
    return told


client.wait_until_succeeds(f"netprobe talk {PUBLIC} 5432 0 | grep welcome", timeout=60)

with subtest("plain TCP: the server speaks first, and knows the client"):
    for to, source in ((PUBLIC, CLIENT), (PUBLIC_IPV6, CLIENT_IPV6)):
        t.assertEqual(client.succeed(f"netprobe talk {to} 5432 1"), f"welcome {source}\n")

with subtest("names of one listener lead elsewhere than those of another"):
    t.assertEqual(answer("fiscalismia.com", f"--interface {CLIENT}")["server"], "172.24.0.3")
    for name in ("fiscalismia.com", "demo.fiscalismia.com", "backend.demo.fiscalismia.com"):
        told = json.loads(fetch(f"https://{name}:8443/", f"--interface {CLIENT}"))
        t.assertEqual((told["server"], told["name"], told["forwarded_for"]), ("172.24.0.4", name, CLIENT))
    client.succeed(f"netprobe silence {PUBLIC} 8443 hello:example.org hello:")

with subtest("the authority's request for a token reaches the name's own server, and all else is redirected"):
    t.assertEqual(fetch(f"http://fiscalismia.com{CHALLENGE}", f"--interface {CLIENT}"), f"172.24.0.3 told {CLIENT} of fiscalismia.com\n")
    for url in ("http://fiscalismia.com/", f"http://demo.fiscalismia.com{CHALLENGE}"):
        t.assertEqual(fetch(url, "--output /dev/null --write-out '%{http_code}'"), "301")

with subtest("a client of the database stays connected while the load balancer is replaced by another process"):
    before = loadbalancer.get_unit_property("fiscalismia-lb.service", "MainPID")
    client.succeed(f"netprobe talk {PUBLIC} 5432 8 >/run/talk 2>/run/talk.errors &")
    client.wait_until_succeeds("grep welcome /run/talk")
    loadbalancer.succeed("systemctl restart fiscalismia-lb")
    t.assertNotEqual(loadbalancer.get_unit_property("fiscalismia-lb.service", "MainPID"), before)
    client.succeed(f"netprobe talk {PUBLIC} 5432 1")
    client.wait_until_succeeds("grep --line-regexp done /run/talk || test -s /run/talk.errors", timeout=30)
    client.succeed("grep --line-regexp done /run/talk")

with subtest("each listener is a frontend of its own: metrics, CSV, JSON and page"):
    t.assertGreaterEqual(metric('haproxy_frontend_connections_total{proxy="database"}'), 4)
    t.assertEqual(metric('haproxy_frontend_connections_total{proxy="partners"}'), 5)
    t.assertEqual(metric('haproxy_server_status{proxy="database",server="172.24.0.5:5432",state="UP"}'), 1)
    table = monitoring.succeed(f"{STATS}/stats;csv'")
    for row in ("database,FRONTEND,", "database,172.24.0.5:5432,", "partners,FRONTEND,", "https_ingress,FRONTEND,", "http_ingress,FRONTEND,"):
        t.assertRegex(table, f"(?m)^{row}")
    t.assertIn('"database"', monitoring.succeed(f"{STATS}/stats.json'"))
    page = monitoring.succeed(f"{STATS}/stats'")
    for part in ("database", "partners", "172.24.0.5:5432"):
        t.assertIn(part, page)

with subtest("the log has each client at the listener where it came in"):
    for line in (
        rf"{CLIENT}:\d+ \[.*\] database database/172\.24\.0\.5:5432 CONNECT ",
        rf"{CLIENT}:\d+ \[.*\] partners partners/172\.24\.0\.4:8443 CONNECT ",
        rf"{CLIENT}:\d+ \[.*\] partners .* drop=SNI_REJECTED ",
        rf"{CLIENT}:\d+ \[.*\] http_ingress frontend/172\.24\.0\.3:443 CLOSE ",
    ):
        wait_for_log(line)

with subtest("the firewall opens what the routes need, and nothing more"):
    t.assertEqual(json.loads(client.succeed(f"netprobe scan 10000 {PUBLIC}")), {PUBLIC: [80, 443, 5432, 8443]})
