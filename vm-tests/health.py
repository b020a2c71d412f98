import time

UP = 'haproxy_server_status{{proxy="{}",server="{}",state="UP"}}'
FRONTEND = UP.format("frontend", "172.24.0.3:443")
DEMO = UP.format("demo", "172.20.0.2:443")


def seconds_until(series: str, value: float) -> float:
    start = time.monotonic()
    retry(lambda _: metric(series) == value, timeout=60)
    return time.monotonic() - start


start_and_wait()
t.assertEqual(metric(FRONTEND), 1)
t.assertEqual(answer("fiscalismia.com")["server"], "172.24.0.3")

with subtest("a server that stops is out after its third failed probe, ten seconds apart"):
    frontend.succeed("systemctl stop nginx")
    demo.succeed("systemctl stop nginx")
    took = seconds_until(FRONTEND, 0)
    t.assertGreater(took, 18)
    t.assertLess(took, 33)

with subtest("the backup takes over"):
    t.assertEqual(answer("fiscalismia.com")["server"], "172.24.0.4")

with subtest("a route without another server is refused at once, and /ready names it"):
    retry(lambda _: metric(DEMO) == 0, timeout=15)
    status, _ = client.execute("timeout 5 curl --silent https://demo.fiscalismia.com/")
    t.assertNotIn(status, (0, 124))
    ready = monitoring.succeed("curl --silent --write-out ' %{http_code}' http://172.24.1.3:8404/ready")
    t.assertTrue(ready.endswith(" 503"), ready)
    t.assertIn("demo", ready)
    t.assertNotIn("frontend", ready)

with subtest("a server that comes back is in again after its second good probe"):
    frontend.succeed("systemctl start nginx")
    demo.succeed("systemctl start nginx")
    took = seconds_until(FRONTEND, 1)
    t.assertGreater(took, 8)
    t.assertLess(took, 23)
    t.assertEqual(answer("fiscalismia.com")["server"], "172.24.0.3")
    retry(lambda _: metric(DEMO) == 1, timeout=15)
    client.succeed(ask("demo.fiscalismia.com"))

with subtest("metrics and log say so"):
    t.assertEqual(metric('haproxy_server_check_up_down_total{proxy="frontend",server="172.24.0.3:443"}'), 1)
    wait_for_log(r"Server frontend/172\.24\.0\.3:443 is DOWN, reason: Layer4 connection problem")
    wait_for_log(r"Server frontend/172\.24\.0\.3:443 is UP")
