"""The load balancer as a machine: Debian's systemd in a container, with the units, addresses and rules of the NixOS module.

As root, with debootstrap once. What needs device units stays out, for no container has them.
"""

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import network
from .machine import TESTS, Failed, Machine

SANDBOX = TESTS.parent / "nixos/sandbox"
CGROUPS = Path("/sys/fs/cgroup")
SERVICE = "fiscalismia-lb.service"
SOCKETS = ["fiscalismia-lb-https.socket", "fiscalismia-lb-http.socket", "fiscalismia-lb-admin.socket"]
KEEPERS = ["fiscalismia-lb-sockets.service", "fiscalismia-lb-other-sockets.service"]
# What the boot ends with: the module's units follow when the scenario starts the machine, as its interfaces come before that.
BOOTED = "[Unit]\nRequires=basic.target dbus.service systemd-networkd.service\nAfter=basic.target dbus.service systemd-networkd.service\nAllowIsolate=yes\n"
# A listener is all that a scan can tell of ssh.
SSHD = "import socket; s = socket.create_server(('', 22)); [s.accept()[0].close() for _ in iter(int, 1)]"
BOOT_WITHIN = 60


class Container(Machine):
    def __init__(self, name: str, state: Path, ruleset: Path, say: Callable[[str], None]) -> None:
        super().__init__(name, state, say)
        self.rendered, self.ruleset = ruleset.parent, ruleset
        self.root = state / "root"

    def boot(self) -> None:
        self.make_root()
        self.install()
        # The kernel's second version of them alone, in this scenario's mount namespace.
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", CGROUPS], check=True)
        own = CGROUPS / self.state.parent.name
        own.mkdir()
        with open(self.state / "console", "wb") as console:
            self.process = subprocess.Popen(
                ["sh", "-c", f'echo $$ >{own}/cgroup.procs && exec "$@"', "sh"]
                + ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={self.root}", f"--machine={self.name}"]
                + ["--private-network", "--resolv-conf=off", "--link-journal=no", "--capability=all", "--system-call-filter=@known"]
                + [f"--bind-ro={self.state.parent}", f"--bind-ro={TESTS}", "--console=pipe", "--boot", "systemd.unit=booted.target"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        self.pid = self.first_process()
        self.wait_for("systemctl is-active --quiet booted.target")

    def make_root(self) -> None:
        """The root that the tests share, with what changes in it kept apart."""
        below = subprocess.check_output([SANDBOX / "make-root"], text=True).strip()
        over = self.state / "over"
        for directory in (over, self.root):
            directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", over], check=True)
        for directory in (over / "upper", over / "work"):
            directory.mkdir()
        options = f"lowerdir={below},upperdir={over}/upper,workdir={over}/work"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", self.root], check=True)

    def install(self) -> None:
        units = self.root / "etc/systemd/system"
        for unit in [*self.rendered.glob("*.service"), *self.rendered.glob("*.socket")]:
            shutil.copy(unit, units)
        self.of_routes = list(self.sockets_of_routes(units))
        for file in self.rendered.glob("*.network"):
            shutil.copy(file, self.root / "etc/systemd/network")
        (units / "booted.target").write_text(BOOTED)
        (units / "sshd.service").write_text(f"[Service]\nExecStart=/usr/bin/python3 -c {shlex.quote(SSHD)}\n")
        (self.root / "etc/nftables.conf").write_text("flush ruleset\n" + self.ruleset.read_text() + network.RPFILTER)
        program = self.program()
        program.parent.mkdir(parents=True)
        shutil.copy(self.state / "fiscalismia-lb", program)
        (self.root / "etc/fiscalismia-lb").mkdir()
        shutil.copy(self.state / "config.json", self.root / "etc/fiscalismia-lb")
        shutil.copy(TESTS.parent / "nixos/stop", self.root / "etc/fiscalismia-lb/stop")
        secrets = "".join(f"f /run/secrets/stats-{name} 0400 - - - {value}\n" for name, value in (("username", "operator"), ("password", "correct horse")))
        (self.root / "etc/tmpfiles.d/secrets.conf").write_text("d /run/secrets 0700\n" + secrets)
        shutil.copy(self.state / "hosts", self.root / "etc/hosts")
        probe = self.root / "usr/local/bin/netprobe"
        probe.write_text(f'#!/bin/sh\nexec python3 {TESTS}/shared/netprobe.py "$@"\n')
        probe.chmod(0o755)

    def sockets_of_routes(self, units: Path) -> Iterator[str]:
        """Those that no rendered unit is for: as the one for TLS, which the module makes alike."""
        like = (self.rendered / SOCKETS[0]).read_text().splitlines()
        for socket in json.loads((self.state / "host.json").read_text())["units"][SERVICE]["sockets"]:
            if socket["name"] in ("https", "http", "admin"):
                continue
            name = f"fiscalismia-lb-route-{socket['name']}.socket"
            kept = [line for line in like if not line.startswith(("ListenStream=", "FileDescriptorName="))]
            own = [f"FileDescriptorName={socket['name']}", *(f"ListenStream={listen}" for listen in socket["listen"])]
            at = kept.index("[Socket]") + 1
            (units / name).write_text("\n".join(kept[:at] + own + kept[at:]) + "\n")
            yield name

    def program(self) -> Path:
        """Where the unit looks for it."""
        unit = (self.rendered / SERVICE).read_text()
        path = next(line.removeprefix("ExecStart=").split()[0] for line in unit.splitlines() if line.startswith("ExecStart="))
        return self.root / path.removeprefix("/")

    def first_process(self) -> int:
        """systemd in the container, the child of systemd-nspawn."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        end = time.monotonic() + BOOT_WITHIN
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            found = children.read_text().split()
            if found and Path(f"/proc/{found[0]}/root/usr/lib/systemd/systemd").exists() and Path(f"/proc/{found[0]}/comm").read_text() == "systemd\n":
                return int(found[0])
            time.sleep(0.05)
        raise Failed(f"{self.name} does not boot: {(self.state / 'console').read_text()}")

    def wait_for(self, command: str) -> None:
        end = time.monotonic() + BOOT_WITHIN
        while self.run(f"{command} 2>/dev/null", 40).returncode != 0:
            if time.monotonic() > end:
                raise Failed(f"{self.name}: {command}\n{(self.state / 'console').read_text()}")
            time.sleep(0.1)

    def configure_network(self, interfaces: list[str]) -> None:
        """The interfaces are there: networkd has given them their addresses, and the rules are in force."""
        waits = " ".join(f"--interface={name}:routable" for name in interfaces)
        self.wait_for(f"/usr/lib/systemd/systemd-networkd-wait-online --timeout=30 {waits}")
        network.check_senders(self.in_network)
        self.wait_for("systemctl start nftables")

    def start(self) -> None:
        if not self.started:
            self.started = True
            self.succeed(f"systemctl start {' '.join(SOCKETS + self.of_routes)}", f"systemctl start {SERVICE} {' '.join(KEEPERS)} sshd.service")
            self.install_switches()

    started = False

    def install_switches(self) -> None:
        """What a switch does, which the check `switch` holds to the units that the module makes: systemd does the rest."""
        config, units = "/etc/fiscalismia-lb/config.json", "/etc/systemd/system"
        switches = json.loads((self.state / "host.json").read_text())["units"][SERVICE]["switches"]
        program = "/" + str(self.program().relative_to(self.root))
        actions = {name: f"cp {file} {config} && systemctl reload {SERVICE}" for name, file in switches.items()}
        upgraded = program.replace("/0", "/1", 1)
        actions["upgraded"] = (
            f"mkdir -p $(dirname {upgraded}) && cp {program} {upgraded} && sed --in-place 's|^ExecStart={program}|ExecStart={upgraded}|' {units}/{SERVICE}"
            f" && systemctl daemon-reload && systemctl restart {SERVICE}"
        )
        actions["other-socket"] = (
            f"sed --in-place s/8404/8405/ {config} {units}/fiscalismia-lb-admin.socket /etc/nftables.conf"
            f" && systemctl daemon-reload && systemctl restart nftables {KEEPERS[1]}"
        )
        for name, action in actions.items():
            script = f"/run/booted-system/specialisation/{name}/bin/switch-to-configuration"
            self.succeed(f"mkdir -p $(dirname {script}) && printf '#!/bin/sh\\n%s\\n' {shlex.quote(action)} >{script} && chmod +x {script}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        subprocess.run(["umount", "--recursive", self.root, self.state / "over"], check=False)
        for group in sorted((CGROUPS / self.state.parent.name).glob("**"), reverse=True):
            group.rmdir()

    @property
    def inside(self) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--wdns=/"]

    @property
    def in_network(self) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--net"]

    def show_logs(self) -> None:
        print(f"--- {self.name}\n{self.run('journalctl --no-pager --output cat | tail -n 80', 20).stdout}")


def available() -> str | None:
    """Why there can be no such machine here, if so."""
    if os.geteuid() != 0:
        return "a machine needs root"
    missing = [tool for tool in ("debootstrap", "systemd-nspawn") if not shutil.which(tool)]
    return f"not installed: {', '.join(missing)}" if missing else None
