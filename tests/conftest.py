"""For all tests: Ctrl-C must reach the processes that they start."""

import signal

# A shell starts background jobs with SIGINT ignored, and that is inherited: a job runner may do
# so. pytest then takes it again, and so do the processes whose interruption is tested.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
