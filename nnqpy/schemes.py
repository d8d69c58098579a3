"""Which listener and which dialer a URL gets. What needs a package of its own is imported when somebody asks for it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from nnqpy.address import InprocAddress, TcpAddress, WebAddress, parse
from nnqpy.endpoint import InprocDialer, InprocListener, StreamDialer, StreamListener
from nnqpy.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Generator

    from nnqpy.turns import Turns

Listener = StreamListener | InprocListener
AnyDialer = StreamDialer | InprocDialer


@contextmanager
def _extra(name: str) -> Generator[None]:
    """Say what to install where a package is missing."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{error}; it comes with pip install 'nnqpy[{name}]'", name=error.name) from error


def listen(turns: Turns, url: str) -> Listener:
    """Make a listener of the URL's scheme.

    Raises:
        ImportError: the scheme needs a package that is not here.
    """
    address = parse(url)
    if isinstance(address, InprocAddress):
        return InprocListener(turns, address)
    if isinstance(address, WebAddress):
        with _extra("ws"):
            from nnqpy.webpoint import WebListener
        return WebListener(turns, address)
    return StreamListener(turns, address)


def dial(turns: Turns, url: str) -> AnyDialer:
    """Make a dialer of the URL's scheme; it returns at once and dials in the background.

    Raises:
        AddressError: the URL cannot be dialled: no host, or port 0.
        ImportError: the scheme needs a package that is not here.
    """
    address = parse(url)
    if isinstance(address, InprocAddress):
        return InprocDialer(turns, address)
    if isinstance(address, TcpAddress) and (not address.host or not address.port):
        raise AddressError(f"{url!r} cannot be dialled: it names no host, or no port")
    if isinstance(address, WebAddress):
        with _extra("ws"):
            from nnqpy.webpoint import WebDialer
        return WebDialer(turns, address)
    return StreamDialer(turns, address)
