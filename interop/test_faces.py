"""The asyncio and trio faces with a real peer: the same messages as the blocking face, both ways."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import trio

import nnqpy.asyncio
import nnqpy.trio

if TYPE_CHECKING:
    from interop.conftest import Peers
    from interop.spots import Spots, Transport

BODIES = [b"", *((b"%d " % n).ljust(n % 300, b".") for n in range(2000)), bytes(1 << 20)]
on_each = pytest.mark.parametrize("transport", ["tcp", "ipc"])


@on_each
def test_asyncio_sends_to_a_peer(transport: Transport, spots: Spots, peers: Peers) -> None:
    """What a task sends, pynng gets."""

    async def main() -> None:
        async with nnqpy.asyncio.Push() as push:
            peer = peers.pynng("pull", "connect", push.bind(spots.any_url(transport)).url)
            for body in BODIES:
                await push.send(body)
            assert await asyncio.to_thread(peer.receive, len(BODIES)) == BODIES

    asyncio.run(main())


@on_each
def test_asyncio_receives_from_a_peer(transport: Transport, spots: Spots, peers: Peers) -> None:
    """What pynng sends, a task gets, and its ``async for`` goes on as long as it likes."""
    url = spots.url(transport)
    peer = peers.pynng("push", "bind", url)
    for body in BODIES:
        peer.send(body)

    async def main() -> list[bytes]:
        received: list[bytes] = []
        async with nnqpy.asyncio.Pull(connect=url) as pull:
            async for body in pull:
                received.append(body)
                if len(received) == len(BODIES):
                    break
        return received

    assert asyncio.run(main()) == BODIES


@on_each
def test_asyncio_talks_to_a_peer(transport: Transport, spots: Spots, peers: Peers) -> None:
    """One message there, one back, on a Pair."""
    url = spots.url(transport)
    peer = peers.pynng("pair", "bind", url)

    async def main() -> None:
        async with nnqpy.asyncio.Pair(connect=url) as pair:
            for body in BODIES[:50]:
                peer.send(body)
                await pair.send(await pair.recv(timeout=10))
                assert await asyncio.to_thread(peer.receive) == [body]

    asyncio.run(main())


@on_each
def test_trio_sends_to_a_peer(transport: Transport, spots: Spots, peers: Peers) -> None:
    """What a task sends, pynng gets."""

    async def main() -> None:
        async with nnqpy.trio.Push() as push:
            peer = peers.pynng("pull", "connect", push.bind(spots.any_url(transport)).url)
            for body in BODIES:
                await push.send(body)
            assert await trio.to_thread.run_sync(peer.receive, len(BODIES)) == BODIES

    trio.run(main)


@on_each
def test_trio_receives_from_a_peer(transport: Transport, spots: Spots, peers: Peers) -> None:
    """What pynng sends, a task gets."""
    url = spots.url(transport)
    peer = peers.pynng("push", "bind", url)
    for body in BODIES:
        peer.send(body)

    async def main() -> list[bytes]:
        async with nnqpy.trio.Pull(connect=url) as pull:
            return [await pull.recv(timeout=10) for _ in BODIES]

    assert trio.run(main) == BODIES


@on_each
def test_trio_talks_to_a_peer(transport: Transport, spots: Spots, peers: Peers) -> None:
    """One message there, one back, on a Pair."""
    url = spots.url(transport)
    peer = peers.pynng("pair", "bind", url)

    async def main() -> None:
        async with nnqpy.trio.Pair(connect=url) as pair:
            for body in BODIES[:50]:
                peer.send(body)
                await pair.send(await pair.recv(timeout=10))
                assert await trio.to_thread.run_sync(peer.receive) == [body]

    trio.run(main)
