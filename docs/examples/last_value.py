"""A thermometer publishes faster than anybody reads; the display always shows the last value."""

from nnqpy import Pub, Sub


def main() -> None:
    with Pub() as thermometer, Sub(subscribe="kitchen ", keep="latest", recv_hwm=1) as display:
        display.connect(thermometer.bind("tcp://127.0.0.1:0").url)
        thermometer.wait_for_peers(1, timeout=10)  # no sleep for the slow joiner

        for tenths in range(10_000):
            thermometer.send(b"kitchen %d" % tenths)
            thermometer.send(b"cellar 120")
        thermometer.flush(timeout=10)
        while display.stats().received < 20_000:  # all of it has come, and nobody has received yet
            pass

        print("the display shows", display.recv(timeout=10).decode())
        print("and has skipped", display.stats().discarded["replaced"], "older values")


if __name__ == "__main__":
    main()
