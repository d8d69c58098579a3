"""Options are checked once, when they are given, and say what is wrong with them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from nnqpy.options import MIB, Options, check_seconds


def test_the_defaults_are_good() -> None:
    """They are what the documentation says, and pass their own checks."""
    options = Options()

    assert (options.send_hwm, options.send_hwm_bytes, options.recv_hwm) == (1000, 64 * MIB, 1000)
    assert (options.linger, options.recv_max_size, options.handshake_timeout) == (1.0, 64 * MIB, 10.0)
    assert (options.reconnect_min, options.reconnect_max) == (0.1, 5.0)
    assert (options.tcp_nodelay, options.tcp_keepalive, options.ipc_mode) == (True, True, 0o600)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("send_hwm", 1),
        ("send_hwm_bytes", 1),
        ("send_hwm_bytes", None),
        ("recv_hwm", 1),
        ("recv_max_size", 0),
        ("recv_max_size", None),
        ("linger", 0),
        ("linger", 1e9),
        ("handshake_timeout", 0.001),
        ("reconnect_min", 5.0),
        ("reconnect_max", 0.1),
        ("ipc_mode", 0),
        ("ipc_mode", 0o777),
        ("tcp_nodelay", False),
    ],
)
def test_the_edges_are_good(name: str, value: Any) -> None:  # each option has its type
    """The least and the most that an option may be."""
    assert getattr(Options(**{name: value}), name) == value


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"send_hwm": 0}, ValueError, "send_hwm is at least 1 message, not 0"),
    ({"recv_hwm": -5}, ValueError, "recv_hwm is at least 1 message, not -5"),
    ({"send_hwm": 1.5}, TypeError, "send_hwm is a number of messages (int), not 1.5"),
    ({"recv_hwm": None}, TypeError, "recv_hwm is a number of messages (int), not None"),
    ({"recv_hwm": True}, TypeError, "recv_hwm is a number of messages (int), not True"),
    ({"send_hwm_bytes": 0}, ValueError, "send_hwm_bytes is at least 1 byte(s) or None for no limit, not 0"),
    ({"recv_max_size": -1}, ValueError, "recv_max_size is at least 0 byte(s) or None for no limit, not -1"),
    ({"recv_max_size": "1k"}, TypeError, "recv_max_size is a number of bytes (int) or None, not '1k'"),
    ({"send_hwm_bytes": False}, TypeError, "send_hwm_bytes is a number of bytes (int) or None, not False"),
    ({"linger": -1}, ValueError, "linger is a finite number of seconds from 0 up, not -1"),
    ({"linger": float("inf")}, ValueError, "linger is a finite number of seconds from 0 up, not inf"),
    ({"reconnect_max": float("nan")}, ValueError, "reconnect_max is a finite number of seconds from 0 up, not nan"),
    ({"linger": None}, TypeError, "linger is a number of seconds, not None"),
    ({"linger": True}, TypeError, "linger is a number of seconds, not True"),
    ({"handshake_timeout": "1"}, TypeError, "handshake_timeout is a number of seconds, not '1'"),
    ({"handshake_timeout": 0}, ValueError, "handshake_timeout is more than 0 seconds, not 0"),
    ({"reconnect_min": 0.0}, ValueError, "reconnect_min is more than 0 seconds, not 0.0"),
    ({"reconnect_min": 6}, ValueError, "reconnect_max (5.0 s) is less than reconnect_min (6 s)"),
    ({"ipc_mode": 0o1000}, ValueError, "ipc_mode is permission bits from 0o000 to 0o777, not 0o1000"),
    ({"ipc_mode": -1}, ValueError, "ipc_mode is permission bits from 0o000 to 0o777, not -0o1"),
    ({"ipc_mode": "600"}, TypeError, "ipc_mode is permission bits (int), as 0o600, not '600'"),
    ({"ipc_mode": None}, TypeError, "ipc_mode is permission bits (int), as 0o600, not None"),
]


@pytest.mark.parametrize(("options", "error", "text"), WRONG, ids=[str(options) for options, _, _ in WRONG])
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """The text says which option it is, what was found and what was wanted."""
    with pytest.raises(error) as caught:
        Options(**options)

    assert str(caught.value) == text


def test_options_are_a_value() -> None:
    """They cannot change once they are checked; a changed copy is checked anew."""
    options = Options()

    with pytest.raises(FrozenInstanceError):
        options.send_hwm = 0  # type: ignore[misc]  # that is what is tested
    with pytest.raises(ValueError, match="send_hwm"):
        replace(options, send_hwm=0)
    assert replace(options, send_hwm=5) == Options(send_hwm=5)


def test_options_are_given_by_name() -> None:
    """No position means anything."""
    with pytest.raises(TypeError):
        Options(5)  # type: ignore[call-arg]  # that is what is tested
    assert all(field.kw_only for field in fields(Options))


@pytest.mark.parametrize("seconds", [0, 0.0, 1, 1.5, 1e9])
def test_seconds_are_any_finite_number_from_zero_up(seconds: float) -> None:
    """Whole or not."""
    check_seconds("timeout", seconds)
