"""What a user is told when something is wrong: one line, with the remedy, and an exit code.

Every error that is the user's to see derives from `Problem`; the command line catches it once
and prints it. Anything else is a bug, and shows its traceback.
"""

import errno

OK, REGRESSION, USAGE, INCOMPARABLE, INVALID, INCONCLUSIVE = range(6)
TIMEOUT, INTERRUPTED = 124, 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when there is no room for more."""


class Problem(Exception):  # noqa: N818  the user's problem, not ours
    """One line: what is wrong, where, and what to do."""

    exit_code = USAGE


class Interrupted(Problem):
    """The user ended it; the line says how to go on."""

    exit_code = INTERRUPTED


class Broken(Problem):
    """A process of ours broke: what it left, its log above all, stays to be looked at."""
