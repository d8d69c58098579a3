"""A certificate is renewed while the listener runs: new connections see the new one, the open one goes on."""

from pathlib import Path
from tempfile import TemporaryDirectory

from nnqpy import Pull, Push, TlsConfig
from nnqpy.cli.authority import create, issue


def shown(push: Push) -> str:
    """Return which certificate the listener has shown to this one."""
    (peer,) = push.peers
    assert peer.certificate is not None
    return peer.certificate.fingerprint


def main(certs: Path) -> None:
    ca = create(certs).cert
    hub = issue(certs, ["127.0.0.1"], days=7)
    trust = TlsConfig(ca=ca)

    with Pull(tls=TlsConfig(cert=hub.cert, key=hub.key)) as pull, Push(tls=trust) as early, Push(tls=trust) as late:
        url = pull.bind("tls+tcp://127.0.0.1:0").url
        early.connect(url, wait=True, timeout=30)

        issue(certs, ["127.0.0.1"], days=7)  # the same name: its files are replaced
        late.connect(url, wait=True, timeout=30)

        print("the late one sees another certificate:", shown(late) != shown(early))
        for push, body in ((early, b"early"), (late, b"late")):
            push.send(body)
            print(pull.recv(timeout=30).decode(), "is heard")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(Path(folder))
