"""A hub of polyamorous Pair1: it knows who says what, and answers one, or all others."""

from nnqpy import Pair1

with Pair1(poly=True) as hub, Pair1() as ann, Pair1() as bob, Pair1() as eve:
    url = hub.bind("tcp://127.0.0.1:0").url
    names: dict[int, str] = {}
    for name, guest in (("Ann", ann), ("Bob", bob), ("Eve", eve)):
        guest.connect(url)
        guest.send(name.encode())
        hello = hub.recv_message(timeout=30)
        names[hello.peer] = hello.body.decode()
        hub.send(f"welcome, {name}".encode(), peer=hello.peer)
        print(guest.recv(timeout=30).decode())

    bob.send(b"good evening")
    said = hub.recv_message(timeout=30)
    for peer in hub.peers:
        if peer.id != said.peer:
            hub.send(f"{names[said.peer]} says: ".encode() + said.body, peer=peer.id)
    print("to Ann:", ann.recv(timeout=30).decode())
    print("to Eve:", eve.recv(timeout=30).decode())
