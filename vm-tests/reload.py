start_and_wait()


def switch(name: str) -> None:
    # The current system is one of these by the second time, and has none of its own.
    loadbalancer.succeed(f"/run/booted-system/specialisation/{name}/bin/switch-to-configuration test")


def main_pid() -> int:
    return int(loadbalancer.get_unit_property("fiscalismia-lb.service", "MainPID"))


def start_load(seconds: int, kept: int) -> None:
    client.succeed(f"netprobe load fiscalismia.com {seconds} {kept} >/run/load.json 2>/run/load.errors &")


def expect_nothing_lost() -> None:
    client.wait_until_succeeds("test -s /run/load.json -o -s /run/load.errors", timeout=60)
    result = json.loads(client.succeed("cat /run/load.json; cat /run/load.errors >&2; rm /run/load.json"))
    t.assertEqual(result["failed"], [])
    t.assertGreater(int(result["done"]), 100)


with subtest("a switch to another configuration loses no connection, new or open"):
    client.fail("curl --silent --max-time 3 https://fastapi.fiscalismia.com/")
    pid = main_pid()
    start_load(12, 20)
    client.wait_until_succeeds(ask("fiscalismia.com"))
    switch("another-route")
    client.succeed(ask("fastapi.fiscalismia.com"))
    expect_nothing_lost()
    t.assertEqual(main_pid(), pid)

with subtest("an upgrade of the package refuses no client and ends no open connection"):
    start_load(15, 20)
    client.wait_until_succeeds(ask("fiscalismia.com"))
    switch("upgraded")
    t.assertNotEqual(main_pid(), pid)
    expect_nothing_lost()

with subtest("VM only: a switch to another admin port takes effect"):
    switch("other-socket")
    monitoring.wait_until_succeeds("curl --silent --fail --max-time 2 http://172.24.1.3:8405/health", timeout=30)
    monitoring.fail("curl --silent --max-time 2 http://172.24.1.3:8404/health")
    client.succeed(ask("fiscalismia.com"))
