"""Events: the JSON that programs send each other, for what depends on the content of messages."""

from __future__ import annotations

import json
from random import Random
from typing import Final

__all__ = ["LARGEST", "events"]

LARGEST: Final = 1000  # bytes of the largest one
_COUNT: Final = 4096

_KINDS: Final = ("order.created", "order.paid", "order.shipped", "order.returned", "cart.changed", "user.signed_in")
_GOODS: Final = ("lamp", "chair", "table", "shelf", "carpet", "mirror", "kettle", "blanket", "curtain", "cupboard")
_CITIES: Final = ("Graz", "Lyon", "Porto", "Turin", "Leeds", "Malmö", "Bergen", "Ghent")


def events() -> list[bytes]:
    """Return the same events each time, of 200 to 1000 bytes: the names of their fields are alike, the values are not."""
    chance = Random(1)  # noqa: S311  # reproducible, and no secret
    return [json.dumps(_event(chance, number)).encode() for number in range(_COUNT)]


def _event(chance: Random, number: int) -> dict[str, object]:
    return {
        "id": f"{chance.getrandbits(64):016x}",
        "sequence": number,
        "type": chance.choice(_KINDS),
        "time": f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}T{chance.randrange(24):02}:30:00Z",
        "user": {"id": chance.randrange(10**7), "city": chance.choice(_CITIES), "verified": chance.random() < 0.9},
        "items": [
            {
                "sku": f"{chance.choice(_GOODS)}-{chance.randrange(10**5):05}",
                "quantity": chance.randint(1, 9),
                "price": chance.randrange(100, 10**5) / 100,
            }
            for _ in range(chance.randint(1, 13))
        ],
    }
