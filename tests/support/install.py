"""See that the tests can have a RabbitMQ, and install one where that is simple: `python -m tests.support.install`.

With `--clients` also the foreign SOAP clients. PostgreSQL needs no such step: it comes from a wheel where the machine
has none.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support import foreign
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


def install(prefix: list[str], packages: Sequence[str]) -> bool:
    """Install packages of the distribution; services among them are not started."""
    print(f"== installing {' '.join(packages)} for the tests", flush=True)
    with no_service_starts(prefix):
        for step in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
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


def missing_packages(*, clients: bool) -> list[str]:
    """The distribution's packages that the tests would need."""
    php = foreign.PHP_PACKAGES if clients and not foreign.has_php() else ()
    return [*(() if is_at_hand() else ("rabbitmq-server",)), *php]


def main(arguments: Sequence[str]) -> int:
    """Without a RabbitMQ no test can run; without a foreign client only its own tests fail, and say what to do."""
    clients = "--clients" in arguments
    packages = missing_packages(clients=clients)
    prefix = administrator()
    if packages and prefix is not None and shutil.which("apt-get"):
        install(prefix, packages)
    if clients and not foreign.has_node():
        print("== installing the npm package soap for the tests", flush=True)
        foreign.install_node()
    if is_at_hand():
        return 0
    try:
        find_program()
    except ServerUnavailable as missing:
        print(missing, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
