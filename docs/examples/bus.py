"""Three programs, each connected with the two others: what one says, all others hear."""

from nnqpy import Bus

with Bus() as ann, Bus() as bob, Bus() as eve:
    url = ann.bind("tcp://127.0.0.1:0").url
    bob.connect(url)
    eve.connect(url)
    eve.connect(bob.bind("tcp://127.0.0.1:0").url)
    for one in (ann, bob, eve):
        one.wait_for_peers(2, timeout=30)

    ann.send(b"lunch?")
    print("Bob and Eve hear:", bob.recv(timeout=30).decode(), eve.recv(timeout=30).decode())

    bob.send(b"yes")
    eve.send(b"no")
    print("Ann hears:", *sorted(ann.recv(timeout=30).decode() for _ in range(2)))
    print("nobody hears himself:", bob.recv(timeout=30).decode(), "and", eve.recv(timeout=30).decode())
