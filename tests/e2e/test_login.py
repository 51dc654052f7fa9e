"""Every client logs in, is refused, and is let in without a login where everybody may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.people import Login
from tests.e2e.guarded import EACH_TIME, HANDS, Guarded, Hand, is_refusal
from tests.e2e.images import NewImage


@pytest.fixture(
    params=[
        pytest.param(name, marks=[] if name in EACH_TIME else [pytest.mark.other_client]) for name in HANDS
    ]
)
def hand(request: pytest.FixtureRequest, guarded: Guarded) -> Iterator[Hand]:
    """One kind of client; it keeps no login."""
    made = HANDS[request.param](request)
    yield made
    made.logout(guarded.host_port)


@pytest.fixture
def team(repository: str) -> str:
    """A repository that only some may use."""
    return f"team/{repository.replace('/', '-')}"


def test_whoever_may_pushes_and_pulls(hand: Hand, guarded: Guarded, team: str, new_image: NewImage) -> None:
    image, reference = new_image(), guarded.reference(team)
    hand.login(guarded.host_port, guarded.pusher)
    hand.push(image, reference)
    assert guarded.digest(team)
    hand.pull(reference)
    # Another repository takes over what is here, with a token for both.
    hand.push(image, guarded.reference(f"{team}/copy"))
    assert guarded.digest(f"{team}/copy") == guarded.digest(team)


def test_whoever_may_only_pull_is_told_so_when_pushing(
    hand: Hand, guarded: Guarded, team: str, new_image: NewImage
) -> None:
    image, reference = new_image(), guarded.reference(team)
    hand.login(guarded.host_port, guarded.pusher)
    hand.push(image, reference)
    hand.logout(guarded.host_port)
    hand.login(guarded.host_port, guarded.puller)
    hand.pull(reference)
    refused = hand.push(new_image(), guarded.reference(team, "2"), code=None)
    assert is_refusal(refused), refused
    assert guarded.digest(team, "2") is None


def test_nobody_in_particular_pulls_what_everybody_may_and_nothing_else(
    hand: Hand, guarded: Guarded, repository: str, team: str, new_image: NewImage
) -> None:
    public = f"public/{repository.replace('/', '-')}"
    hand.login(guarded.host_port, guarded.pusher)
    hand.push(new_image(), guarded.reference(public))
    hand.push(new_image(), guarded.reference(team))
    hand.logout(guarded.host_port)
    hand.pull(guarded.reference(public))
    refused = hand.pull(guarded.reference(team), code=None)
    assert is_refusal(refused), refused
    refused = hand.push(new_image(), guarded.reference(public, "2"), code=None)
    assert is_refusal(refused), refused
    # Whoever has a login uses it, though everybody may pull.
    hand.login(guarded.host_port, guarded.puller)
    hand.pull(guarded.reference(public))


def test_a_wrong_password_is_refused(hand: Hand, guarded: Guarded, team: str, new_image: NewImage) -> None:
    wrong = Login(guarded.puller.name, "wrong")
    told = hand.login(guarded.host_port, wrong, code=None)
    if told.code == 0:
        # Some clients find out only when they use it.
        told = hand.pull(guarded.reference(team), code=None)
    assert is_refusal(told), told


def test_a_machine_logs_in_with_its_key(
    hand: Hand, guarded: Guarded, team: str, repository: str, new_image: NewImage
) -> None:
    hand.login(guarded.host_port, guarded.key)
    hand.push(new_image(), guarded.reference(team))
    hand.pull(guarded.reference(team))
    refused = hand.push(new_image(), guarded.reference(f"other/{repository}"), code=None)
    assert is_refusal(refused), refused
