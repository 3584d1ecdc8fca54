"""Why NVML has no value: one table from its codes to our words, and to what the sampler does then.

Numbers, not pynvml's names, so that the report and the tests can read it without NVML. The
numbers are ABI and never change meaning; a code that a newer driver adds is said by its number.
A test holds the table against the installed nvidia-ml-py.
"""

from enum import Enum
from typing import NamedTuple


class Then(Enum):
    """What to do after an error."""

    AGAIN = "ask again next time"
    NEVER = "this device does not offer it: stop asking"
    REOPEN = "the handle is dead: close NVML, open it, find the device by UUID"


class Reason(NamedTuple):
    """Why there is no value, in words for the trace, and what to do then."""

    text: str
    then: Then


TABLE: dict[int, Reason] = {
    0: Reason("", Then.AGAIN),
    1: Reason("NVML is not initialised", Then.REOPEN),
    2: Reason("NVML refused the argument", Then.REOPEN),
    3: Reason("not supported by this device", Then.NEVER),
    4: Reason("no permission", Then.NEVER),
    5: Reason("NVML is already initialised", Then.AGAIN),
    6: Reason("not found", Then.AGAIN),
    7: Reason("the list grew while it was read", Then.AGAIN),
    8: Reason("external power is insufficient", Then.AGAIN),
    9: Reason("the NVIDIA driver is not loaded", Then.REOPEN),
    10: Reason("the driver timed out", Then.AGAIN),
    11: Reason("interrupt problem with the GPU", Then.AGAIN),
    12: Reason("no NVIDIA driver (libnvidia-ml.so.1 not found)", Then.NEVER),
    13: Reason("this driver lacks the function", Then.NEVER),
    14: Reason("the GPU's infoROM is corrupted", Then.NEVER),
    15: Reason("the GPU is lost", Then.REOPEN),
    16: Reason("the GPU needs a reset", Then.REOPEN),
    17: Reason("the operating system blocked the request", Then.NEVER),
    18: Reason("driver and library versions differ: restart after the driver update", Then.REOPEN),
    19: Reason("the GPU is in use", Then.AGAIN),
    20: Reason("NVML is out of memory", Then.AGAIN),
    21: Reason("no data yet", Then.AGAIN),
    22: Reason("not supported with vGPU ECC", Then.NEVER),
    23: Reason("insufficient resources", Then.AGAIN),
    24: Reason("clock not supported", Then.NEVER),
    25: Reason("this driver knows another version of the structure", Then.NEVER),
    26: Reason("this driver has dropped the function", Then.NEVER),
    27: Reason("not ready", Then.AGAIN),
    28: Reason("the GPU is not found", Then.REOPEN),
    29: Reason("the GPU is in an invalid state", Then.AGAIN),
    30: Reason("reset type not supported", Then.NEVER),
    999: Reason("NVML says unknown error", Then.REOPEN),
}


def of(code: int) -> Reason:
    """Return the reason for a code; unknown ones are named by number and asked again."""
    return TABLE.get(code) or Reason(f"NVML error {code}", Then.AGAIN)
