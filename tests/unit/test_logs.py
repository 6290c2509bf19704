"""Where log lines go: what a command prints is for programs to read."""

from __future__ import annotations

import structlog
from structlog.testing import capture_logs

from hub.logs import only_warnings


def test_commands_log_to_standard_error_whoever_configured_structlog_before(capsys):
    before = structlog.get_config()
    try:
        with capture_logs():
            assert structlog.is_configured()
        only_warnings()
        structlog.get_logger().info("of no concern")
        structlog.get_logger().warning("of concern")
    finally:
        structlog.configure(**before)

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "of concern" in printed.err
    assert "of no concern" not in printed.err
