start_and_wait()
monitoring.wait_for_unit("prometheus.service")
monitoring.wait_for_open_port(9090)


def query(expression: str) -> list[dict[str, object]]:
    command = f"curl --silent --show-error --fail --get --data-urlencode 'query={expression}' http://127.0.0.1:9090/api/v1/query"
    found: list[dict[str, object]] = json.loads(monitoring.succeed(command))["data"]["result"]
    return found


def values(expression: str) -> list[float]:
    return [float(one["value"][1]) for one in query(expression)]  # type: ignore[index]


with subtest("Prometheus on the monitoring host scrapes the load balancer"):
    retry(lambda _: values('up{job="haproxy-loadbalancer"}') == [1], timeout=60)
    t.assertEqual(values('sum(haproxy_server_status{state="UP"})'), [5])

with subtest("what clients do shows"):
    before = values('haproxy_backend_sessions_total{proxy="backend"}')[0]
    for _ in range(7):
        client.succeed(ask("backend.fiscalismia.com"))
    retry(lambda _: values('haproxy_backend_sessions_total{proxy="backend"}') == [before + 7], timeout=30)

with subtest("no other host reaches it"):
    for machine in (frontend, bastion, sentinel, natgateway):
        machine.fail("curl --silent --max-time 2 http://172.24.1.3:8404/metrics")
    for machine in (demo, sentinel):
        machine.fail("curl --silent --max-time 2 http://172.20.1.3:8404/metrics")
    for address in (PUBLIC, f"[{PUBLIC_IPV6}]"):
        client.fail(f"curl --silent --max-time 2 http://{address}:8404/metrics")

with subtest("/stats asks for the password that the files have"):
    status = "curl --silent --output /dev/null --write-out '%{http_code}'"
    t.assertEqual(monitoring.succeed(f"{status} http://172.24.1.3:8404/stats"), "401")
    t.assertEqual(monitoring.succeed(f"{status} --user operator:wrong http://172.24.1.3:8404/stats"), "401")
    page = monitoring.succeed("curl --silent --fail --user 'operator:correct horse' http://172.24.1.3:8404/stats")
    for route in ("frontend", "backend", "demo", "demo_backend", "monitoring"):
        t.assertIn(route, page)

with subtest("NixOS only: Grafana has the dashboard, and Prometheus the rules"):
    monitoring.wait_for_unit("grafana.service")
    monitoring.wait_for_open_port(3000)
    found = json.loads(monitoring.succeed("curl --silent --fail --user admin:admin 'http://127.0.0.1:3000/api/search?type=dash-db'"))
    t.assertEqual([one["title"] for one in found], ["fiscalismia-lb"])
    rules = json.loads(monitoring.succeed("curl --silent --fail http://127.0.0.1:9090/api/v1/rules"))
    t.assertEqual([group["name"] for group in rules["data"]["groups"]], ["fiscalismia-lb"])
