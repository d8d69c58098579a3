"""What happens on a socket, as typed events: somebody comes, somebody strange comes, somebody leaves."""

import socket

from nnqpy import Pull, Push
from nnqpy.events import HandshakeFailed, PeerAdded, PeerRemoved, SocketClosed

pull = Pull()
events = pull.events()
address = pull.bind("tcp://127.0.0.1:0").url

with Push(connect=address) as push:
    push.send(b"hello")
    pull.recv(timeout=30)

host, port = address.removeprefix("tcp://").split(":")
with socket.create_connection((host, int(port))) as stranger:
    stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    stranger.recv(1024)  # its greeting, before it looks at ours

seen = 0
for event in events:  # ends after SocketClosed
    match event:
        case PeerAdded(peer):
            print(f"a {peer.protocol} came")
        case PeerRemoved(peer, reason):
            print(f"the {peer.protocol} left: {reason}; {peer.received} message received")
        case HandshakeFailed(reason=reason):
            print(f"a stranger was refused: {reason}")
        case SocketClosed():
            print("closed")
        case _:
            pass
    seen += isinstance(event, PeerRemoved | HandshakeFailed)
    if seen == 2:
        pull.close()
