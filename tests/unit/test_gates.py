"""Which steps lie behind which, beside the definition and in large graphs."""

from hypothesis import given
from hypothesis import strategies as st

from execution.gates import Gates
from execution.waves import compute_depths

CHAIN = 10_000


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    size = draw(st.integers(1, 15))
    return [
        sorted(draw(st.sets(st.integers(0, i - 1), max_size=3))) if i else []
        for i in range(size)
    ]


def follow_skip(needs: list[list[int]], gate: int) -> set[int]:
    """Return what has no way to it but through a step, and that itself."""
    behind = {gate}
    for position in range(gate + 1, len(needs)):
        if needs[position] and behind.issuperset(needs[position]):
            behind.add(position)
    return behind


@given(graphs())
def test_a_step_is_behind_another_if_all_ways_lead_through_that(
    needs: list[list[int]],
) -> None:
    gates = Gates.find(needs)

    for gate in range(len(needs)):
        found = {p for p in range(len(needs)) if gates.is_behind(p, gate)}
        assert found == follow_skip(needs, gate)


@given(graphs())
def test_a_step_lies_one_deeper_than_the_deepest_of_its_needs(
    needs: list[list[int]],
) -> None:
    depths = compute_depths(needs)

    assert depths == [
        max((depths[n] + 1 for n in wanted), default=0) for wanted in needs
    ]


def test_a_long_chain_is_no_trouble() -> None:
    needs = [[i - 1] if i else [] for i in range(CHAIN)]

    gates = Gates.find(needs)

    assert all(gates.is_behind(i, 0) for i in range(CHAIN))
    assert not gates.is_behind(0, 1)
    assert compute_depths(needs)[-1] == CHAIN - 1


def test_needs_may_stand_behind_who_needs_them() -> None:
    needs = [[2], [0], []]

    assert compute_depths(needs) == [1, 2, 0]
    assert Gates.find(needs).is_behind(1, 2)
