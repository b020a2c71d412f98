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

from . import machine, network, services

# What the lab does not show of a scenario that passes begins so.
DETAIL = "  | "
VM_ONLY = "VM only: "


def run(tests: Path, name: str, program: Path, rendered: Path) -> int:
    script = tests / f"{name}.py"
    if script.read_text().startswith(f"# {VM_ONLY}"):
        print(f"skipped: {script.read_text().splitlines()[0].removeprefix(f'# {VM_ONLY}')}")
        return 0
    topology = json.loads((tests / "topology.json").read_text())
    state = Path(tempfile.mkdtemp(prefix=f"lab-{name}-"))
    try:
        return run_script(tests, name, services.Lab(tests, state, program, rendered, topology, name))
    finally:
        shutil.rmtree(state, ignore_errors=True)


def run_script(tests: Path, name: str, lab: services.Lab) -> int:
    services.make_site(lab)
    machines = {host: machine.Machine(host, lab.state / host, say) for host in lab.topology["hosts"]}
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
            exec(compile(without_vm_only(part), part, "exec"), names)
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


def without_vm_only(script: Path) -> ast.Module:
    """Steps whose name begins with "VM only: " become a line that says so."""
    tree = ast.parse(script.read_text(), script)
    VmOnly().visit(tree)
    return ast.fix_missing_locations(tree)


class VmOnly(ast.NodeTransformer):
    def visit_With(self, node: ast.With) -> ast.AST:
        match node.items[0].context_expr:
            case ast.Call(func=ast.Name(id="subtest"), args=[ast.Constant(value=str(name))]) if name.startswith(VM_ONLY):
                skipped = ast.parse(f"print({f'skipped, {name}'!r})").body[0]
                return ast.copy_location(skipped, node)
        return node
