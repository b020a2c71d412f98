start_and_wait()

with subtest("every route leads to its server, which knows the client's address"):
    for name, address in ROUTES.items():
        t.assertEqual(
            answer(name, f"--interface {CLIENT}"),
            {
                "forwarded_for": CLIENT,
                "server": address,
                "name": name,
                "peer": "172.20.1.3" if address.startswith("172.20.") else "172.24.1.3",
            },
        )

with subtest("nginx logs the client's address"):
    for server, name, leg in ((frontend, "fiscalismia.com", "172.24.1.3"), (demo, "demo.fiscalismia.com", "172.20.1.3")):
        line = f"{CLIENT} by {leg} for {name}: 200"
        server.wait_until_succeeds(f"grep --line-regexp --fixed-strings '{line}' /var/log/nginx/access.log", timeout=20)

with subtest("a client by IPv6 is known by that address"):
    t.assertEqual(answer("fiscalismia.com", "--ipv6")["forwarded_for"], CLIENT_IPV6)

with subtest("the name's letters may be large"):
    client.succeed(ask("DEMO.Fiscalismia.com"))

with subtest("the load balancer logs the route, the server and the client"):
    wait_for_log(rf"{CLIENT}:\d+ \[.*\] https_ingress demo/172.20.0.2:443 CONNECT ")

with subtest("a client without a route gets no answer, and no end of the connection either"):
    client.succeed(f"netprobe silence {PUBLIC} 443 hello:unknown.fiscalismia.com hello: 'text:GET / HTTP/1.1'")
    wait_for_log(rf"{CLIENT}:\d+ .* drop=SNI_REJECTED ")

with subtest("plain HTTP is sent to https"):
    headers = client.succeed("curl --silent --show-error --head --max-time 5 'http://demo.fiscalismia.com/a?b=c'")
    t.assertIn(" 301 ", headers.splitlines()[0])
    t.assertIn("location: https://demo.fiscalismia.com/a?b=c", headers.lower())
