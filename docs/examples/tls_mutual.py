"""Mutual TLS: each end shows a certificate, and knows by it who the other one is. Who has none is refused."""

from pathlib import Path
from tempfile import TemporaryDirectory

from nnqpy import Pull, Push, TlsConfig
from nnqpy.cli.authority import create, issue
from nnqpy.events import HandshakeFailed


def main(certs: Path) -> None:
    # As `nnq certs init` and `nnq certs issue` do.
    ca = create(certs).cert
    hub = issue(certs, ["hub.example.org", "127.0.0.1"], days=7)
    worker = issue(certs, ["worker-7"], days=7, client=True)

    listens = TlsConfig(ca=ca, cert=hub.cert, key=hub.key, require_client_cert=True)
    dials = TlsConfig(ca=ca, cert=worker.cert, key=worker.key)
    with Pull(tls=listens) as pull:
        url = pull.bind("tls+tcp://127.0.0.1:0").url
        with Push(connect=url, tls=dials) as push:
            push.send(b"the job is done")
            print(pull.recv(timeout=30).decode())
            for sock in (pull, push):
                (peer,) = sock.peers
                assert peer.certificate is not None
                print(f"the {peer.protocol} is {peer.certificate.common_name}")

        events = pull.events()
        with Push(connect=url, tls=TlsConfig(ca=ca)):
            refused = next(event for event in events if isinstance(event, HandshakeFailed))
        print(f"a stranger is refused: {refused.reason}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(Path(folder))
