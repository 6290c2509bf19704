"""See that the tests can have a RabbitMQ, and install one where that is simple: `python -m tests.support.install`.

PostgreSQL needs no such step: it comes from a wheel where the machine has none.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import ServerUnavailable
from tests.support.rabbitmq_server import find_program
from tests.support.servers import docker_answers

START_POLICY = Path("/usr/sbin/policy-rc.d")


def is_at_hand() -> bool:
    """Whether tests will find a RabbitMQ."""
    if os.environ.get("HUB_TEST_BROKER_URL") or docker_answers():
        return True
    with contextlib.suppress(ServerUnavailable):
        find_program()
        return True
    return False


def administrator() -> list[str] | None:
    """What to put before a command that needs root: nothing for root, sudo where it asks nothing, None if we cannot."""
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None


def install(prefix: list[str]) -> bool:
    """Install the distribution's RabbitMQ; its service is not started."""
    print("== installing rabbitmq-server (the tests start a private one)", flush=True)
    with no_service_starts(prefix):
        for step in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "rabbitmq-server"]):
            command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *step]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(done.stdout + done.stderr, file=sys.stderr)
                return False
    return True


@contextlib.contextmanager
def no_service_starts(prefix: list[str]) -> Iterator[None]:
    """Debian starts what it installs unless this policy says no; an existing policy is left alone."""
    if START_POLICY.exists():
        yield
        return
    script = f"printf '#!/bin/sh\\nexit 101\\n' > {START_POLICY} && chmod 755 {START_POLICY}"
    subprocess.run([*prefix, "sh", "-c", script], check=True)
    try:
        yield
    finally:
        subprocess.run([*prefix, "rm", "-f", str(START_POLICY)], check=True)


def main() -> int:
    if is_at_hand():
        return 0
    prefix = administrator()
    if prefix is not None and shutil.which("apt-get") and install(prefix) and is_at_hand():
        return 0
    try:
        find_program()
    except ServerUnavailable as missing:
        print(missing, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
