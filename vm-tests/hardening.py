start_and_wait()

SERVICE = "fiscalismia-lb.service"
CGROUP = f"/sys/fs/cgroup/system.slice/{SERVICE}/cgroup.procs"


def in_the_sandbox(command: str) -> str:
    """The command under the service's own IP filters, which go by its cgroup."""
    return f"sh -c 'echo $$ >{CGROUP} && exec {command}'"


with subtest("a client over the rate limit is not answered, others are"):

    def is_out(_last_try: bool) -> bool:
        """Unless its five seconds were over before this asked, on a busy machine."""
        flood = json.loads(client.succeed("netprobe flood fiscalismia.com 500"))
        t.assertEqual(flood["connections"], 500)
        t.assertLessEqual(flood["answered"], 50)
        t.assertGreater(flood["answered"], 0)
        status, _ = client.execute("curl --silent --ipv4 --max-time 2 https://fiscalismia.com/")
        return bool(status != 0)

    retry(is_out, timeout=60)
    client.succeed(ask("fiscalismia.com", "--interface 198.51.100.8"))
    wait_for_log(rf"{CLIENT}:\d+ .* drop=RATE_LIMITED ")

with subtest("that client is answered again when its five seconds are over"):
    client.wait_until_succeeds("curl --silent --fail --ipv4 --max-time 2 https://fiscalismia.com/", timeout=20)

with subtest("VM only: the unit's exposure is at most 1.0"):
    loadbalancer.succeed(f"systemd-analyze security --no-pager --threshold=10 {SERVICE}")

with subtest("VM only: no capability, no new privileges, a system call filter, no root"):
    pid = loadbalancer.get_unit_property(SERVICE, "MainPID")
    status = loadbalancer.succeed(f"cat /proc/{pid}/status")
    for line in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        t.assertIn(f"{line}:\t0000000000000000\n", status)
    t.assertIn("NoNewPrivs:\t1\n", status)
    t.assertIn("Seccomp:\t2\n", status)
    t.assertNotRegex(status, r"Uid:\t0\t")

with subtest("VM only: it can write nowhere, and sees no process but its own"):
    for directory in ("/etc", "/var/lib", "/nix/store", "/root", "/run"):
        loadbalancer.fail(f"nsenter --target {pid} --mount -- touch {directory}/written")
    loadbalancer.fail(f"nsenter --target {pid} --mount -- test -e /dev/vda")

with subtest("VM only: it reaches its networks, and nothing else"):
    loadbalancer.succeed(in_the_sandbox("netprobe open 172.24.0.3 443"))
    # The host may: updates come from there.
    loadbalancer.succeed(f"netprobe open {CLIENT} 80")
    loadbalancer.fail(in_the_sandbox(f"netprobe open {CLIENT} 80"))

with subtest("VM only: the admin socket takes monitoring only, whatever the firewall says"):
    loadbalancer.succeed("nft flush ruleset")
    monitoring.succeed(METRICS)
    frontend.fail(METRICS)
    loadbalancer.succeed("systemctl restart nftables")

with subtest("VM only: a crash is over in a second, and the ports stay open meanwhile"):
    loadbalancer.succeed(f"systemctl kill --signal=SIGKILL {SERVICE}")
    client.succeed(ask("fiscalismia.com"))
