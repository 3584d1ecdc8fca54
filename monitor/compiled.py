"""ticker.c as Python sees it: its structures, its functions, its rows."""

import ctypes
from struct import Struct
from typing import NamedTuple

from traces.errors import Problem

CALLS, NUMBERS = 6, 3
STOPPED, REACHED, FAILED = range(3)
NOT_ASKED = MISSED = -1
NOTED = -2

ROW = Struct(f"qqiii{CALLS}i4x{CALLS}Q")
Row = tuple[int, ...]
"""Time, lateness, group, cause, offset; then the calls' codes and their words."""
TIME, LATE, GROUP, CAUSE, OFFSET, CODE, WORD = 0, 1, 2, 3, 4, 5, 5 + CALLS


class Call(NamedTuple):
    """A function of the driver's library, called directly: addresses, and what it is given."""

    function: int | None
    device: int | None
    argument: int = -1
    initial: int = 0


class Slot(ctypes.Structure):
    """A `Call` of ticker.c."""

    _fields_ = (
        ("function", ctypes.c_void_p),
        ("device", ctypes.c_void_p),
        ("argument", ctypes.c_int32),
        ("initial", ctypes.c_uint32),
    )

    def fill(self, call: Call) -> None:
        """Make it this call."""
        self.function, self.device, self.argument, self.initial = call


class Group(ctypes.Structure):
    """A `Group` of ticker.c: what is read together, how often, and the line of a vital one."""

    _fields_ = (
        ("calls", Slot * CALLS),
        ("count", ctypes.c_int32),
        ("vital", ctypes.c_int32),
        ("resting", ctypes.c_int32),
        ("code", ctypes.c_int32),
        ("interval", ctypes.c_int64),
        ("due", ctypes.c_int64),
        ("pieces", ctypes.c_char_p * (NUMBERS + 2)),
        ("places", ctypes.c_int32 * NUMBERS),
        ("numbers", ctypes.c_int32),
        ("latest", ctypes.c_uint64),
        ("highest", ctypes.c_uint64),
        ("read_at", ctypes.c_int64),
    )

    def write(self, line: bytes, places: tuple[int, ...]) -> None:
        """Have its readings written so: %d stands for the time, then for the words at `places`."""
        self.numbers = len(places)
        self.places[: len(places)] = places
        for n, piece in enumerate(line.split(b"%d")):
            self.pieces[n] = piece.replace(b"%%", b"%")


class Kept(ctypes.Structure):
    """A `Kept` of ticker.c: what was read and is not written yet."""

    _fields_ = (
        ("text", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
        ("lates", ctypes.c_void_p),
        ("n_text", ctypes.c_int32),
        ("n_rows", ctypes.c_int32),
        ("n_ticks", ctypes.c_int32),
        ("t", ctypes.c_int64),
    )


def load(path: str) -> ctypes.CDLL:
    """Load the compiled file. Raises Problem."""
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise Problem(
            f"cannot load {path} ({error}): remove it, it is made anew; or set XDG_CACHE_HOME, "
            "if programs may not be run from there"
        ) from None
    ticker, number, time = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
    library.ticker_new.argtypes = (ctypes.POINTER(Group), number, time, time, number)
    library.ticker_new.restype = ticker
    library.ticker_run.argtypes = (ticker, time)
    library.ticker_note.argtypes = (ticker,)
    library.ticker_hurry.restype = None
    library.ticker_stop.argtypes = (ticker,)
    library.ticker_stop.restype = None
    library.ticker_take.argtypes = (ticker,)
    library.ticker_take.restype = ctypes.POINTER(Kept)
    return library
