"""The fleet whose history is kept three times: nodes that come, leave, begin anew and are away."""

from tests.system.planning.pushing import DAY, HOUR, Sender

DAYS = 70
_END = DAYS * 24
FLEET = (
    # There from before the first day to the end.
    Sender("fra-1.example", "frankfurt", (-30,), _END + 5),
    # Booted anew three times, the last two on one day; away for five days, and for three hours.
    Sender(
        "fra-2",
        "frankfurt",
        (-5, 300, 1001, 1009),
        _END + 3,
        away=(range(500, 620), range(800, 803)),
        capacity=0,
    ),
    # Comes late; away over the end of a day, booted anew meanwhile with another class.
    Sender(
        "ams-1",
        "amsterdam",
        (500, 900),
        _END + 6,
        away=(range(890, 915), range(1100, 1107)),
        classes=(("openvpn", "wireguard"), ("openvpn", "ikev2")),
    ),
    # Leaves; its second run begins with the last release of a day.
    Sender("lon-1", "london", (0, 24 * 10 + 23), 900),
    Sender("lon-2", "london", (24 * 60, 24 * 66 + 13), _END + 1, window=300),
    Sender("zrh-1", "zurich", (7 * 24,), _END, window=DAY),
)
# From the first day's begin.
RANGES = (
    ((DAYS - 31) * DAY, DAYS * DAY),
    (20 * DAY, 45 * DAY),
    ((DAYS - 2) * DAY + 7 * HOUR, DAYS * DAY + 5 * HOUR),
)
