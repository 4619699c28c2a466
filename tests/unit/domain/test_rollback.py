"""Which revisions a person takes back."""

from __future__ import annotations

import pytest

from shuren.domain.app.rollback import chosen
from shuren.domain.app.snapshot import Revision, RevisionState
from shuren.domain.errors import Invalid


def revision(number: int, state: RevisionState = RevisionState.GOOD) -> Revision:
    return Revision(name=f"r{number}", hash=f"h{number}", number=number, state=state, app_id="/a")


def test_the_last_good_one_before_is_the_goal() -> None:
    known = [revision(1), revision(2), revision(3, RevisionState.FAILED), revision(4)]
    found = chosen(known, target="h4")
    assert (found.goal.number, [r.number for r in found.withdraw]) == (2, [4])


def test_with_a_number_all_good_ones_after_it_go_the_present_one_last() -> None:
    known = [revision(n) for n in range(1, 5)]
    found = chosen(known, target="h4", to=1)
    assert (found.goal.number, [r.number for r in found.withdraw]) == (1, [2, 3, 4])


def test_undo_tries_again_what_was_taken_back() -> None:
    known = [revision(1), revision(2, RevisionState.WITHDRAWN)]
    assert [r.number for r in chosen(known, target="h2", undo=True).retry] == [2]


@pytest.mark.parametrize(
    ("target", "to", "undo", "words"),
    [
        ("h1", 0, False, "no good revision before"),
        ("h3", 2, False, "revision 2 is Failed, not Good"),
        ("h3", 9, False, "no revision 9"),
        ("h3", 3, False, "what the spec asks for already"),
        ("h3", 0, True, "was not taken back"),
        ("unknown", 0, False, "never tried"),
    ],
)
def test_what_cannot_be_is_told(target: str, to: int, undo: bool, words: str) -> None:  # noqa: FBT001 - a row of the table
    known = [revision(1), revision(2, RevisionState.FAILED), revision(3)]
    with pytest.raises(Invalid, match=words):
        chosen(known, target=target, to=to, undo=undo)
