"""The pure rules of a promote: which steps a version may take, and who is caught up."""

from __future__ import annotations

import pytest

from kappa.errors import IllegalTransition, NotCaughtUp, SourceDropped, TopicRecreated
from kappa.versions.caught_up import Position, check_caught_up
from kappa.versions.lifecycle import TRANSITIONS, State, check_transition


def test_every_state_has_its_steps_and_only_retired_has_none() -> None:
    assert set(TRANSITIONS) == set(State)
    assert [state for state, to in TRANSITIONS.items() if not to] == [State.RETIRED]
    reached = set.union(*(set(to) for to in TRANSITIONS.values()))
    assert reached == set(State)


def test_what_serves_cannot_be_retired_or_rebuilt() -> None:
    for now in (State.SERVING, State.DRAINING):
        for to in (State.RETIRED, State.BUILDING, State.FAILED):
            with pytest.raises(IllegalTransition) as caught:
                check_transition("revenue", 2, now, to)
            assert "standby" in caught.value.hint


def test_only_what_is_built_can_serve() -> None:
    may = {now for now, to in TRANSITIONS.items() if State.SERVING in to}
    assert may == {State.READY, State.STANDBY, State.DRAINING}


def at(topic: str, partition: int, offset: int, topic_id: str = "id") -> Position:
    return Position(topic, partition, topic_id, offset)


BLUE = [at("a", 0, 10), at("a", 1, 20), at("b", 0, 5)]


@pytest.mark.parametrize("ahead", [[0, 0, 0], [1, 0, 9]])
def test_at_or_past_everywhere_is_caught_up(ahead: list[int]) -> None:
    pairs = zip(BLUE, ahead, strict=True)
    green = [at(p.topic, p.partition, p.next_offset + more) for p, more in pairs]
    check_caught_up("revenue", 2, BLUE, [*green, at("a", 2, 0)], BLUE)


@pytest.mark.parametrize("behind", range(3))
def test_one_record_behind_anywhere_is_behind(behind: int) -> None:
    green = list(BLUE)
    late = green[behind]
    green[behind] = at(late.topic, late.partition, late.next_offset - 1)
    for blue, served in ((BLUE, []), ([], BLUE)):
        with pytest.raises(NotCaughtUp) as caught:
            check_caught_up("revenue", 2, blue, green, served)
        assert caught.value.detail == {
            "processor": "revenue",
            "topic": late.topic,
            "partition": late.partition,
            "offset": late.next_offset - 1,
            "served": late.next_offset,
        }


def test_a_partition_nobody_reads_any_more_is_behind() -> None:
    with pytest.raises(NotCaughtUp) as caught:
        check_caught_up("revenue", 2, BLUE, [BLUE[0], BLUE[2]], [])
    assert "offset" not in caught.value.detail


def test_a_topic_nobody_reads_any_more_is_dropped_only_if_that_is_meant() -> None:
    green = [at for at in BLUE if at.topic == "a"]
    with pytest.raises(SourceDropped) as caught:
        check_caught_up("revenue", 2, BLUE, green, [])
    assert caught.value.hint.endswith("kappa promote revenue@2 --drop-source b")
    check_caught_up("revenue", 2, BLUE, green, [], frozenset("b"))


def test_the_further_of_blue_and_served_counts() -> None:
    green = [at("a", 0, 11)]
    check_caught_up("revenue", 2, [at("a", 0, 10)], green, [at("a", 0, 11)])
    with pytest.raises(NotCaughtUp):
        check_caught_up("revenue", 2, [at("a", 0, 10)], green, [at("a", 0, 12)])


def test_a_topic_made_anew_is_another_topic() -> None:
    anew = [at("a", 0, 3, "other")]
    for blue, served in ((BLUE[:2], []), ([], BLUE[:2])):
        with pytest.raises(TopicRecreated) as caught:
            check_caught_up("revenue", 2, blue, anew, served)
        assert caught.value.hint.endswith("kappa promote revenue@2 --drop-source a")
        check_caught_up("revenue", 2, blue, anew, served, frozenset("a"))
    with pytest.raises(TopicRecreated):
        check_caught_up("revenue", 2, BLUE[1:2], anew, [])  # of a partition that is no more
    with pytest.raises(NotCaughtUp):
        check_caught_up("revenue", 3, anew, [at("a", 0, 2, "other")], [], frozenset("a"))


def test_the_first_version_has_nobody_to_catch_up_with() -> None:
    check_caught_up("revenue", 1, [], [at("a", 0, 0)], [])
