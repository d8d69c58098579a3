"""TLS streams on socket pairs, and what it takes to disturb them."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from nnqpy.transport.tls import TlsStream, dress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from nnqpy.tls import TlsConfig

PATIENCE: Final = 20.0
"""Seconds after which a test gives up: only where it fails."""


class Ends:
    """Two streams that have shaken hands, and their system sockets."""

    def __init__(self, near: TlsStream, far: TlsStream, socks: tuple[socket.socket, socket.socket]) -> None:
        self.near = near
        self.far = far
        self.near_sock, self.far_sock = socks


@contextmanager
def joined(
    *, buffer: int | None = None, tcp: bool = False
) -> Generator[tuple[socket.socket, socket.socket], None, None]:
    """Yield two connected, non-blocking sockets, and close them in the end.

    Args:
        buffer: bytes that the kernel takes each way, about; None: as it is.
        tcp: over loopback, instead of a socket pair.
    """
    if tcp:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far = listener.accept()[0]
    else:
        near, far = socket.socketpair()
    with near, far:
        for sock in (near, far):
            sock.setblocking(False)
            if buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        yield near, far


@contextmanager
def ends(
    config: TlsConfig,
    *,
    buffer: int | None = None,
    tcp: bool = False,
    version: ssl.TLSVersion | None = None,
    disguise: Callable[[ssl.SSLObject], Any] | None = None,
) -> Generator[Ends, None, None]:
    """Yield two streams, whose hands were shaken without any socket: that is quick.

    Args:
        config: of both ends.
        buffer: as in `joined`.
        tcp: likewise.
        version: what the two agree on; None: the highest.
        disguise: puts something in front of the near end's `SSLObject`.
    """
    with joined(buffer=buffer, tcp=tcp) as (near, far):
        client, server = config.client_context(), config.server_context()
        before = client.maximum_version
        try:
            client.maximum_version = version or before
            one = Half(client, server_hostname="localhost")
        finally:
            client.maximum_version = before
        other = Half(server, server_side=True)
        for _ in range(3):
            one.step(other)
            other.step(one)
        one.tls.do_handshake()
        other.tls.do_handshake()
        near_stream = TlsStream(near, disguise(one.tls) if disguise else one.tls, one.incoming, one.outgoing)
        yield Ends(near_stream, TlsStream(far, other.tls, other.incoming, other.outgoing), (near, far))


class Half:
    """One end of a TLS connection without any socket."""

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool = False, server_hostname: str | None = None
    ) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=server_hostname
        )

    def step(self, other: Half) -> None:
        """Go on with the handshake, and hand over to the other what is to be said."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        other.incoming.write(self.outgoing.read())


def shake(
    client: TlsConfig, server: TlsConfig, *, name: str = "localhost", buffer: int | None = None
) -> tuple[object, object]:
    """Return what `dress` gives the client and the server: a stream, or the error. Both sockets are closed then."""

    async def both() -> tuple[object, object]:
        loop = asyncio.get_running_loop()
        with joined(buffer=buffer) as (near, far):
            here = dressed(near, client, server_side=False, server_name=name, loop=loop)
            there = dressed(far, server, server_side=True, server_name="", loop=loop)
            async with asyncio.timeout(PATIENCE):
                return await asyncio.gather(here, there)

    return asyncio.run(both())


async def dressed(
    sock: socket.socket, config: TlsConfig, *, server_side: bool, server_name: str, loop: asyncio.AbstractEventLoop
) -> TlsStream | OSError:
    """Return the stream, or the error, of which the other end is told by the end of the connection."""
    try:
        stream = await dress(sock, config, server_side=server_side, server_name=server_name, loop=loop)
    except OSError as error:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        return error
    return stream


def take(stream: TlsStream, size: int = 1 << 20) -> bytes:
    """Return all that is here, without waiting for more."""
    data = b""
    with suppress(BlockingIOError):
        while chunk := stream.recv(size):
            data += chunk
    return data


def wait(sock: socket.socket, *, writable: bool = False) -> None:
    """Wait until there is something to read, or room to write."""
    ready = select.select([] if writable else [sock], [sock] if writable else [], [], PATIENCE)
    assert ready != ([], [], []), "nothing happened"


class Forger:
    """One direction of a TLS 1.3 connection that anybody who has its secret can go on with: any record, at any time.

    What is sealed here must go in order, and nothing that the `Half` seals itself comes after the first of them.
    """

    def __init__(self, half: Half, keylog: Path, *, written: int = 0) -> None:
        """Take over what a half writes.

        Args:
            half: its handshake is done.
            keylog: what its context has written there, as ``SSLContext.keylog_filename``.
            written: records that it has written since the handshake.
        """
        cipher = half.tls.cipher()
        assert cipher is not None
        assert half.tls.version() == "TLSv1.3", "the keys of older versions are made in another way"
        assert cipher[0] == "TLS_AES_256_GCM_SHA384", "another cipher was agreed on"
        whose = "SERVER" if half.tls.server_side else "CLIENT"
        secrets = dict(line.split()[::2] for line in keylog.read_text().splitlines() if line[:1] != "#")
        self._secret = bytes.fromhex(secrets[f"{whose}_TRAFFIC_SECRET_0"])
        self._number = written

    def record(self, kind: int, content: bytes) -> bytes:
        """Return one record: 23 for data, 22 for a message of the handshake, 21 for an alert."""
        inner = content + bytes([kind])
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        start = int.from_bytes(self._expand("iv", 12), "big")
        nonce = (start ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + AESGCM(self._expand("key", 32)).encrypt(nonce, inner, header)

    def key_update(self, *, wanted: bool = False) -> bytes:
        """Return the record that announces other keys, and have them from then on; or it wants others in return, too."""
        record = self.record(22, b"\x18\0\0\1" + bytes([wanted]))
        self._secret, self._number = self._expand("traffic upd", 48), 0
        return record

    def _expand(self, label: str, length: int) -> bytes:
        # RFC 8446, 7.1
        words = f"tls13 {label}".encode()
        info = length.to_bytes(2, "big") + bytes([len(words)]) + words + b"\0"
        return HKDFExpand(SHA384(), length, info).derive(self._secret)
