"""One scenario: builds the hosts, runs the script, says what happened."""

import ast
import contextlib
import json
import shutil
import sys
import tempfile
import time
import traceback
import unittest
from collections.abc import Iterator
from pathlib import Path

from . import container, machine, network, services

# What the lab does not show of a scenario that passes begins so.
DETAIL = "  | "
# What takes a systemd, and what takes a NixOS.
VM_ONLY, NIXOS_ONLY = "VM only: ", "NixOS only: "


def run(tests: Path, name: str, program: Path, rendered: Path, with_machine: bool) -> int:
    script = tests / f"{name}.py"
    if script.read_text().startswith(f"# {NIXOS_ONLY}"):
        print(f"skipped: {script.read_text().splitlines()[0].removeprefix(f'# {NIXOS_ONLY}')}")
        return 0
    topology = json.loads((tests / "topology.json").read_text())
    topology["hosts"] = {host: one for host, one in topology["hosts"].items() if name in one.get("scenarios", [name])}
    state = Path(tempfile.mkdtemp(prefix=f"lab-{name}-"))
    try:
        return run_script(tests, name, services.Lab(tests, state, program, rendered, topology, name), with_machine)
    finally:
        shutil.rmtree(state, ignore_errors=True)


def run_script(tests: Path, name: str, lab: services.Lab, with_machine: bool) -> int:
    services.make_site(lab)
    machines = {host: machine.Machine(host, lab.state / host, say) for host in lab.topology["hosts"]}
    if with_machine:
        machines["loadbalancer"] = container.Container("loadbalancer", lab.state / "loadbalancer", services.ruleset(lab), say)
    for host, one in machines.items():
        services.describe(lab, host)
        one.boot()
    network.connect(lab.topology, {host: one.pid for host, one in machines.items()}, services.legs(lab, "fabric"))
    for host in machines:
        services.configure_network(lab, machines[host])

    def start_all() -> None:
        for one in machines.values():
            one.start()

    names = {
        **machines,
        "start_all": start_all,
        "subtest": subtest,
        "retry": machine.retry,
        "t": unittest.TestCase(),
    }
    try:
        for part in (tests / "shared/steps.py", tests / f"{name}.py"):
            left_out = (NIXOS_ONLY,) if with_machine else (NIXOS_ONLY, VM_ONLY)
            exec(compile(without(part, left_out), part, "exec"), names)
        if sent := network.redirects_sent():
            raise machine.Failed(f"the fabric has sent {sent} redirects")
    except Exception:
        traceback.print_exc(file=sys.stdout)
        for one in machines.values():
            one.show_logs()
        return 1
    finally:
        for one in machines.values():
            one.stop()
    return 0


@contextlib.contextmanager
def subtest(name: str) -> Iterator[None]:
    start = time.monotonic()
    say(f"subtest: {name}")
    yield
    print(f"{name} ({time.monotonic() - start:.1f} s)", flush=True)


def say(text: str) -> None:
    print("\n".join(DETAIL + line for line in text.splitlines()), flush=True)


def without(script: Path, kinds: tuple[str, ...]) -> ast.Module:
    """Steps whose name begins with one of `kinds` become a line that says so."""
    tree = ast.parse(script.read_text(), script)
    LeftOut(kinds).visit(tree)
    return ast.fix_missing_locations(tree)


class LeftOut(ast.NodeTransformer):
    def __init__(self, kinds: tuple[str, ...]) -> None:
        self.kinds = kinds

    def visit_With(self, node: ast.With) -> ast.AST:
        match node.items[0].context_expr:
            case ast.Call(func=ast.Name(id="subtest"), args=[ast.Constant(value=str(name))]) if name.startswith(self.kinds):
                skipped = ast.parse(f"print({f'skipped, {name}'!r})").body[0]
                return ast.copy_location(skipped, node)
        return node
