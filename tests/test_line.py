"""The line in which requests wait: visitors take turns."""

from __future__ import annotations

from types import SimpleNamespace

from gradio.queueing import Event

from page.blocks import MOST_OVERTAKEN, Line


def event(visitor, number=0):
    made = Event(None, SimpleNamespace(concurrency_id="model"), None, None)
    made.request, made.name = SimpleNamespace(scope={"visitor": visitor}), f"{visitor}{number}"
    return made


def names(line):
    return [one.name for one in line]


def test_one_visitors_many_do_not_stand_before_anothers_first():
    line = Line([event("a", number) for number in range(5)])
    line.append(event("b"))
    line.append(event("c"))
    assert names(line) == ["a0", "b0", "c0", "a1", "a2", "a3", "a4"]


def test_one_visitors_own_stay_in_their_order():
    line = Line([])
    for number in range(4):
        line.append(event("a", number))
        line.append(event("b", number))
    for visitor in "ab":
        assert [name for name in names(line) if name[0] == visitor] == [
            f"{visitor}{number}" for number in range(4)
        ]


def test_nobody_waits_for_ever_behind_those_who_come_later():
    line = Line([event("a", 0), event("a", 1)])
    served = []
    for number in range(20):
        # Somebody new each time one is served.
        line.append(event(f"new{number}-"))
        served.append(line[0].name)
        line.remove(line[0])
    assert served.index("a1") <= MOST_OVERTAKEN + 1


def test_who_leaves_the_line_does_not_move_the_others():
    line = Line([event("a", number) for number in range(3)])
    line.append(event("b"))
    line.remove(line[2])
    assert names(line) == ["a0", "b0", "a2"]
