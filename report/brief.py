"""What a terminal says under the table: six sentences at most, the gravest first.

A backend that failed, the headline, unequal loads, doubts, and where there is room how to read the
table. What does not fit is counted, and stands in report.md and on the page.
"""

from compare.fact import Fact
from compare.summary import Column
from measure.result import Result
from report import loads, words

MOST = 6
ALIKE = "kv_bytes_per_live_token"  # the same factor as the efficiency's, for the page


def sentences(result: Result, columns: list[Column], facts: list[Fact]) -> list[str]:
    """At most MOST of them."""
    gravest = [] if result.complete else [words.UNFINISHED]
    gravest += [said for column in columns for said in words.failure(column)]
    room = max(0, MOST - len(gravest))
    won = [fact.text for fact in facts if fact.name != ALIKE]
    unequal = loads.unequal(result, columns)
    doubts = [said for column in columns for said in words.doubts(column)]
    fitting = _fitting(doubts, max(1, room - len(won) - len(unequal)))
    last = [*unequal, *fitting][:room]
    return [*gravest, *won[: room - len(last)], *last, *words.reading(columns)][:MOST]


def _fitting(doubts: list[str], room: int) -> list[str]:
    """As many doubts as there is room for; the last says how many more there are."""
    more = len(doubts) - room
    if more <= 0:
        return doubts
    said = f"; and {more} more doubt{'s' if more > 1 else ''}: see the page"
    return [*doubts[: room - 1], doubts[room - 1] + said]
