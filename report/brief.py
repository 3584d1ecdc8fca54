"""What a terminal says under the table: six sentences at most, the gravest first.

A backend that failed, the headline, unequal loads, doubts, and where there is room how to read the
table. What does not fit is counted, and stands in report.md and on the page.
"""

from compare.fact import Fact
from compare.summary import Column
from measure.result import Result
from report import words

MOST = 6
ALIKE = "kv_bytes_per_live_token"  # the same factor as the efficiency's, for the page


def sentences(result: Result, columns: list[Column], facts: list[Fact]) -> list[str]:
    """At most MOST of them."""
    first = [] if result.complete else [words.UNFINISHED]
    first += [said for column in columns for said in words.failure(column)][: MOST - len(first)]
    doubts = [said for column in columns for said in words.doubts(column)]
    unequal = words.unequal(result, columns)
    kept = [
        fact.text
        for fact in facts
        if fact.name != ALIKE and (not unequal or not fact.note or fact.name == "kv_efficiency")
    ]
    last = (unequal + _fitting(doubts, max(1, MOST - len(first + kept + unequal))))[
        : MOST - len(first)
    ]
    first += kept[: MOST - len(first + last)] + last
    return (first + words.reading(columns))[:MOST]


def _fitting(doubts: list[str], room: int) -> list[str]:
    """As many doubts as there is room for; the last says how many more there are."""
    more = len(doubts) - room
    if more <= 0:
        return doubts
    said = f"; and {more} more doubt{'s' if more > 1 else ''}: see the page"
    return [*doubts[: room - 1], doubts[room - 1] + said]
