"""Every error NVML has is a value with a reason."""

import pynvml
import pytest

from monitor import reasons
from monitor.nvml import THROTTLE, ask
from monitor.reasons import Then

CODES = {
    name: value
    for name, value in vars(pynvml).items()
    if name.startswith(("NVML_ERROR_", "NVML_SUCCESS"))
}


def test_the_table_is_complete_and_holds_nothing_else():
    assert sorted(reasons.TABLE) == sorted(CODES.values())


def test_every_reason_says_something_else():
    texts = [reason.text for reason in reasons.TABLE.values()]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", ["GPU_IS_LOST", "RESET_REQUIRED", "UNINITIALIZED"])
def test_a_dead_handle_is_opened_anew(name):
    assert reasons.of(CODES[f"NVML_ERROR_{name}"]).then is Then.REOPEN


@pytest.mark.parametrize("name", ["NOT_SUPPORTED", "NO_PERMISSION", "FUNCTION_NOT_FOUND"])
def test_what_a_device_does_not_offer_is_not_asked_again(name):
    assert reasons.of(CODES[f"NVML_ERROR_{name}"]).then is Then.NEVER


def test_a_code_of_a_newer_driver_is_named_by_its_number():
    reason = reasons.of(77)
    assert "77" in reason.text
    assert reason.then is Then.AGAIN


@pytest.mark.parametrize("code", sorted(set(CODES.values()) - {0}))
def test_no_error_of_nvml_comes_out_as_an_exception(code):
    def fail():
        raise pynvml.NVMLError(code)

    assert ask(fail) == (None, reasons.TABLE[code])


def test_every_throttle_reason_has_a_name():
    bits = {
        value
        for name, value in vars(pynvml).items()
        if name.startswith("nvmlClocks") and "Reason" in name and isinstance(value, int)
    }
    assert {bit for bit in bits if bit.bit_count() == 1} == set(THROTTLE)
