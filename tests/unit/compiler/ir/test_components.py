"""Components, against networkx's on random graphs."""

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from snncc.compiler.ir.components import components


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, list[int]]:
    size = draw(st.integers(0, 12))
    nodes = st.integers(0, max(0, size - 1))
    return {n: draw(st.lists(nodes, max_size=4)) for n in range(size)}


@given(graphs())
def test_the_components_are_networkx_s_and_come_after_what_they_lead_to(
    graph: dict[int, list[int]],
) -> None:
    found = components(graph, graph.__getitem__)
    expected: nx.DiGraph[int] = nx.DiGraph()
    expected.add_nodes_from(graph)
    expected.add_edges_from((n, end) for n, ends in graph.items() for end in ends)
    assert sorted(map(sorted, found)) == sorted(
        sorted(c) for c in nx.strongly_connected_components(expected)
    )
    place = {n: i for i, group in enumerate(found) for n in group}
    assert all(place[end] <= place[n] for n, ends in graph.items() for end in ends)


def test_a_long_chain_needs_no_recursion() -> None:
    size = 100_000
    found = components([0], lambda n: [n + 1] if n + 1 < size else [])
    assert [group[0] for group in found] == list(range(size - 1, -1, -1))


def test_nodes_that_only_edges_name_count() -> None:
    assert components(["a"], {"a": ["b"], "b": ["a", "c"], "c": []}.__getitem__) == [
        ["c"],
        ["b", "a"],
    ]
