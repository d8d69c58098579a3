"""A socket's options: one frozen value, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nnqpy.tls import TlsConfig
    from nnqpy.wire.zstd import ZstdConfig

OnFull = Literal["drop_oldest", "drop_newest", "block"]

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one socket; `None` in a limit means no limit.

    Attributes:
        send_hwm: messages that may wait to be sent, per socket; where each peer has a queue, in that too. The kernel's
            buffers hold more beyond it.
        send_hwm_bytes: bytes that may wait to be sent, likewise; one message of any size always may.
        recv_hwm: messages that may wait to be received, per socket; then the peers feel it.
        linger: seconds that `close` may go on sending what is queued.
        recv_max_size: bytes of the largest message taken from a peer; a larger one closes its connection.
        handshake_timeout: seconds from the accepted or established connection to its whole greeting.
        reconnect_min: seconds before the first dial again; doubles, with jitter, up to `reconnect_max`.
        reconnect_max: seconds between two dials, at most.
        tcp_nodelay: send small segments at once (TCP_NODELAY).
        tcp_keepalive: let the kernel find dead peers: probes after 10 s idle, dead within about 30 s.
        ipc_mode: permission bits of an ipc socket file, set before anybody can connect.
        on_full: what becomes of a message for a peer whose queue is full, where each peer has one (Pub, Bus, and the raw
            sockets that send to all or to one): ``"drop_oldest"``, ``"drop_newest"`` or ``"block"``. None: as the pattern
            has it.
        tls: whom to trust and who we are, for ``tls+tcp`` and ``wss``. None: to connect, the system's authorities.
        zstd: how to compress, for ``zstd+tcp``. None: as `ZstdConfig` has it.
        ws_origins: web pages of other hosts that may connect by ``ws`` and ``wss``; ``"*"``: all.
        ws_headers: further headers of the request by which we connect by ``ws`` and ``wss``.
        max_ttl: steps that a message may have made, 1 to 15 (Pair1, Rep, Respondent, and their raw sockets).
    """

    send_hwm: int = 1000
    send_hwm_bytes: int | None = 64 * MIB
    recv_hwm: int = 1000
    linger: float = 1.0
    recv_max_size: int | None = 64 * MIB
    handshake_timeout: float = 10.0
    reconnect_min: float = 0.1
    reconnect_max: float = 5.0
    tcp_nodelay: bool = True
    tcp_keepalive: bool = True
    ipc_mode: int = 0o600
    on_full: OnFull | None = None
    max_ttl: int = 8
    tls: TlsConfig | None = None
    zstd: ZstdConfig | None = None
    ws_origins: Collection[str] = ()
    ws_headers: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for name, what in (
            ("send_hwm", "a number of messages (int)"),
            ("recv_hwm", "a number of messages (int)"),
            ("ipc_mode", "permission bits (int), as 0o600"),
            ("max_ttl", "a number of steps (int)"),
        ):
            number = getattr(self, name)
            if not isinstance(number, int) or isinstance(number, bool):
                raise TypeError(f"{name} is {what}, not {number!r}")
        for name, mark in (("send_hwm", self.send_hwm), ("recv_hwm", self.recv_hwm)):
            if mark < 1:
                raise ValueError(f"{name} is at least 1 message, not {mark}")
        for name, least in (("send_hwm_bytes", 1), ("recv_max_size", 0)):
            size = getattr(self, name)
            if size is None:
                continue
            if not isinstance(size, int) or isinstance(size, bool):
                raise TypeError(f"{name} is a number of bytes (int) or None, not {size!r}")
            if size < least:
                raise ValueError(f"{name} is at least {least} byte(s) or None for no limit, not {size}")
        for name in ("linger", "handshake_timeout", "reconnect_min", "reconnect_max"):
            check_seconds(name, getattr(self, name))
        for name in ("handshake_timeout", "reconnect_min"):
            if not getattr(self, name):
                raise ValueError(f"{name} is more than 0 seconds, not {getattr(self, name)}")
        if self.reconnect_max < self.reconnect_min:
            raise ValueError(
                f"reconnect_max ({self.reconnect_max} s) is less than reconnect_min ({self.reconnect_min} s)"
            )
        if not 1 <= self.max_ttl <= 15:
            raise ValueError(f"max_ttl is from 1 to 15 steps, not {self.max_ttl}")
        if self.on_full is not None and self.on_full not in get_args(OnFull):
            raise ValueError(f"on_full is one of {', '.join(get_args(OnFull))}, not {self.on_full!r}")
        if not 0 <= self.ipc_mode <= 0o777:
            raise ValueError(f"ipc_mode is permission bits from 0o000 to 0o777, not {self.ipc_mode:#o}")


def check_seconds(name: str, seconds: object) -> None:
    """Refuse what is no finite, non-negative number of seconds."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name} is a number of seconds, not {seconds!r}")
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{name} is a finite number of seconds from 0 up, not {seconds}")
