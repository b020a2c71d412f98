# NixOS only: two hosts for one address (nixos/test-failover tries that without virtual machines).
HOLDS = "ip -4 address show dev lo to 203.0.113.50 | grep --quiet inet"
ASK = "curl --silent --show-error --fail --max-time 2 https://fiscalismia.com/"

for machine in (first, world):
    machine.start()
for unit in ("nginx", "cloud"):
    world.wait_for_unit(f"{unit}.service")
first.wait_for_unit("fiscalismia-lb.service")
first.wait_until_succeeds(HOLDS, timeout=60)
world.wait_until_succeeds(ASK, timeout=60)
second.start()
second.wait_for_unit("fiscalismia-lb.service")
second.wait_for_unit("keepalived.service", timeout=60)

with subtest("they hear each other: one has the address"):
    second.fail(f"for _ in $(seq 30); do {HOLDS} && exit; sleep 0.1; done; false")
    first.succeed(HOLDS)

with subtest("a program that comes back keeps the address"):
    first.succeed("systemctl kill --signal=SIGKILL fiscalismia-lb.service")
    world.wait_until_succeeds(ASK, timeout=10)
    second.fail(f"for _ in $(seq 30); do {HOLDS} && exit; sleep 0.1; done; false")

with subtest("a public link that goes takes the address along"):
    first.succeed("ip link set enp1s0 down")
    second.wait_until_succeeds(HOLDS, timeout=10)
    first.fail(HOLDS)
    world.wait_until_succeeds(ASK, timeout=10)

with subtest("a host that returns does not ask for the address"):
    first.succeed("ip link set enp1s0 up")
    first.wait_until_succeeds("systemctl is-active fiscalismia-lb.service", timeout=30)
    first.fail(f"for _ in $(seq 30); do {HOLDS} && exit; sleep 0.1; done; false")
    world.succeed(ASK)

with subtest("a program that hangs loses it"):
    second.succeed("systemctl kill --signal=SIGSTOP fiscalismia-lb.service")
    first.wait_until_succeeds(HOLDS, timeout=10)
    world.wait_until_succeeds(ASK, timeout=10)
