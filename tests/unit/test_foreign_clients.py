"""A foreign client that this machine does not have is an error that says what to do, never a skip."""

from __future__ import annotations

import pytest

from tests.support import foreign, install


@pytest.mark.parametrize(
    ("client", "wanted"), [(foreign.php, "apt-get install php-cli php-soap"), (foreign.node, "npm")]
)
def test_a_missing_client_says_how_to_get_it(monkeypatch, client, wanted):
    monkeypatch.setattr(foreign.shutil, "which", lambda _program: None)

    with pytest.raises(foreign.ClientUnavailable, match=wanted):
        client()


def test_packages_of_another_lock_are_not_taken_for_installed(monkeypatch, tmp_path):
    (tmp_path / "installed.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(foreign, "NODE_CACHE", tmp_path)

    assert not foreign.has_node()


@pytest.mark.parametrize(("clients", "packages"), [(True, ["php-cli", "php-soap"]), (False, [])])
def test_the_clients_are_installed_where_they_are_asked_for(monkeypatch, clients, packages):
    monkeypatch.setattr(install, "is_at_hand", lambda: True)
    monkeypatch.setattr(foreign, "has_php", lambda: False)

    assert install.missing_packages(clients=clients) == packages
