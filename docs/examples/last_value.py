"""A thermometer publishes faster than anybody reads; the display skips what is old and ends with the last value."""

from nnqpy import Pub, Sub


def main() -> None:
    with Pub() as thermometer, Sub(subscribe="kitchen ", keep="latest", recv_hwm=1) as display:
        display.connect(thermometer.bind("tcp://127.0.0.1:0").url)
        thermometer.wait_for_peers(1, timeout=10)  # no sleep for the slow joiner

        for tenths in range(10_000):
            thermometer.send(b"kitchen %d" % tenths)
            thermometer.send(b"cellar 120")
        thermometer.flush(timeout=10)

        shown = 1
        while (value := display.recv(timeout=10)) != b"kitchen 9999":
            shown += 1
        replaced = display.stats().discarded["replaced"]

        print("the display ends with", value.decode())
        print("most values were replaced by newer ones before they were shown:", replaced > shown)
        print("values shown and values replaced, together:", shown + replaced)  # each differs from run to run


if __name__ == "__main__":
    main()
