"""Seats: one session at a time, and what those before it left there."""

from hypothesis import given
from hypothesis import strategies as st

from trafficd.accounting.seats import Seats, two_fullest


def filled(*contributions: tuple[int, int]) -> Seats:
    """Seats that sessions have left with so much on them."""
    seats = Seats()
    taken = [seats.take() for _ in contributions]
    for seat, (rx_bytes, tx_bytes) in zip(taken, contributions, strict=True):
        seats.add(seat, rx_bytes, tx_bytes)
        seats.leave(seat)
    return seats


def test_a_session_that_opens_takes_the_fullest_seat_nobody_sits_on() -> None:
    seats = filled((1, 1), (5, 0), (0, 4))

    first, second = seats.take(), seats.take()

    assert (seats.rx_bytes[first], seats.tx_bytes[first]) == (5, 0)
    assert (seats.rx_bytes[second], seats.tx_bytes[second]) == (0, 4)


def test_a_session_that_opens_beside_others_takes_a_new_seat() -> None:
    seats = Seats()

    first, second = seats.take(), seats.take()

    assert first != second
    assert seats.with_at_least(0) == 2


def test_a_release_takes_the_bytes_and_leaves_who_sits() -> None:
    seats = filled((7, 7))
    sitting = seats.take()
    beside = seats.take()
    seats.add(beside, 9, 9)
    seats.leave(beside)

    seats.empty()
    seats.add(sitting, 3, 0)

    assert seats.with_at_least(1) == 1
    assert seats.take() != sitting


def test_empty_seats_are_used_again_so_that_their_number_stays_that_of_the_sessions() -> None:
    seats = Seats()

    for _ in range(1000):
        seat = seats.take()
        seats.add(seat, 1, 1)
        seats.leave(seat)
        seats.empty()

    assert len(seats.rx_bytes) == 1


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=12))
def test_which_of_equally_full_seats_is_taken_depends_on_bytes_alone(
    contributions: list[tuple[int, int]],
) -> None:
    there, back = filled(*contributions), filled(*reversed(contributions))

    def order(seats: Seats) -> list[tuple[int, int]]:
        taken = [seats.take() for _ in contributions]
        return [(seats.rx_bytes[seat], seats.tx_bytes[seat]) for seat in taken]

    assert order(there) == order(back)


def test_the_two_fullest_of_fewer_seats_are_empty() -> None:
    seats = filled((3, 1))

    assert two_fullest(seats.rx_bytes) == (3, 0)
    assert two_fullest(Seats().tx_bytes) == (0, 0)
