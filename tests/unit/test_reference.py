"""How published plans are named."""

import pytest

from execution.reference import PlanReference


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("hello", "hello", None),
        ("hello@1.4", "hello", "1.4"),
        ("hello@1@2", "hello", "1@2"),
        ("hello@", "hello", ""),
        ("", "", None),
    ],
)
def test_a_reference_is_read_up_to_its_first_mark(
    text: str, name: str, version: str | None
) -> None:
    reference = PlanReference.parse(text)

    assert reference == PlanReference(name, version)
    assert str(reference) == text
