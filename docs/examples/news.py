"""One publisher, two subscribers: each gets what begins with its prefixes."""

from nnqpy import Pub, Sub


def main() -> None:
    with Pub() as pub, Sub(subscribe=["sport."]) as fan, Sub(subscribe="") as archive:
        url = pub.bind("tcp://127.0.0.1:0").url
        fan.connect(url)
        archive.connect(url)
        pub.wait_for_peers(2, timeout=10)

        pub.send(b"weather.rain")
        pub.send(b"sport.one nil")
        pub.send(b"sport.one all")

        print("fan:", [fan.recv(timeout=10).decode() for _ in range(2)])
        print("archive:", [archive.recv(timeout=10).decode() for _ in range(3)])


if __name__ == "__main__":
    main()
