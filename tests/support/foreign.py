"""SOAP clients that nobody here wrote: PHP's own and the npm package `soap`, run as programs on `tests/foreign`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "foreign"
PHP_PACKAGES = ("php-cli", "php-soap")
NODE_LOCK = "package-lock.json"
NODE_CACHE = Path(sys.prefix) / "foreign-node"
NODE_S_MAX = 120.0
CALLS_S_MAX = 60.0


class ClientUnavailable(RuntimeError):
    """A foreign client cannot be had; the message says what to do about it."""


@dataclass(frozen=True)
class Result:
    """What one call came to: an answer or a fault with `code`, `reason` and `detail`."""

    answer: Any
    fault: Any


def php() -> list[str]:
    """The command of the PHP client."""
    if not has_php():
        raise ClientUnavailable(
            f"PHP with its SOAP extension is not installed: `apt-get install {' '.join(PHP_PACKAGES)}`, or "
            "`python -m tests.support.install --clients` where that may be done for you"
        )
    return ["php", str(FOLDER / "php" / "calls.php")]


def has_php() -> bool:
    """Whether the PHP client would run."""
    if shutil.which("php") is None:
        return False
    modules = subprocess.run(["php", "-m"], capture_output=True, text=True, check=False, timeout=CALLS_S_MAX)
    return "soap" in modules.stdout.split()


def node() -> list[str]:
    """The command of the node client."""
    if not has_node():
        raise ClientUnavailable(
            "the npm package `soap` is not installed: with Node.js 20.19 or newer and npm at hand run "
            "`python -m tests.support.install --clients`"
        )
    return ["node", str(NODE_CACHE / "calls.mjs")]


def has_node() -> bool:
    """Whether the node client would run, with the packages of the lock as it is now."""
    installed = NODE_CACHE / "installed.json"
    return (
        shutil.which("node") is not None
        and installed.exists()
        and installed.read_bytes() == (FOLDER / "node" / NODE_LOCK).read_bytes()
        and (NODE_CACHE / "calls.mjs").read_bytes() == (FOLDER / "node" / "calls.mjs").read_bytes()
    )


def install_node() -> bool:
    """Install what the lock names into the environment's folder; whether that went well."""
    if shutil.which("npm") is None:
        return False
    NODE_CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", NODE_LOCK, "calls.mjs"):
        shutil.copyfile(FOLDER / "node" / name, NODE_CACHE / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=NODE_CACHE, capture_output=True, text=True, check=False, timeout=NODE_S_MAX)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        return False
    shutil.copyfile(NODE_CACHE / NODE_LOCK, NODE_CACHE / "installed.json")
    return True


def calls(command: Sequence[str], wsdl: str, party: str, password: str, version: str, wanted: Calls) -> list[Result]:
    """Let a client make these calls in turn: what each came to, numbers and moments as the client shows them."""
    job = {
        "wsdl": wsdl,
        "party": party,
        "password": password,
        "version": version,
        "calls": [{"operation": operation, "values": values} for operation, values in wanted],
    }
    printed = run(command, FOLDER, json.dumps(job))
    return [Result(each.get("answer"), each.get("fault")) for each in json.loads(printed)]


def run(command: Sequence[str], folder: Path, given: str = "", **environment: str) -> str:
    """What a client prints, run in `folder`: straight to the gateway, whatever proxy this machine uses."""
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=CALLS_S_MAX,
        cwd=folder,
        env=plain | {"NODE_PATH": str(NODE_CACHE / "node_modules")} | environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


Calls = Sequence[tuple[str, Mapping[str, Any]]]
