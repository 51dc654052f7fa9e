"""Every interleaving of real coroutines over a driver in memory, states that were seen before left out.

A state of the whole is what lies in the driver, and for each actor the answers that it has got
(tests/actors.py), or what it has answered itself, or that it has died. Each state is entered once, whichever
way led there, and at each every actor may take its next step, or die.

What a step does is decided by what its actor has heard and by what it finds where it touches: a step of which
that is known is not taken again. One that is not is taken by the coroutines themselves, on the way there from
a fresh start; and it is looked whether all is then as it was reckoned.

A step is taken at once, and alone, where what it touches is touched by no other actor in a way that matters:
its order among the others' steps makes no difference then, and only a death may come before it. Who touches
what is learnt on the way; where more was believed than is so, what was left out is caught up with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from tests.actors import Changes, Died, Object, Objects, Situation, Touch, Watched

Way = tuple["Way", str] | None
"""How a state was come by: the way before it, and the last choice."""
State = tuple[int, tuple[object, ...]]
"""What lies there, as a number, and what has become of each actor: a number of what it has heard, or text."""
_DEAD = "†"


@dataclass
class Explored:
    """How many states there were, and how many of them were ends."""

    states: int = 0
    ends: int = 0


class _Play:
    """One situation on its way."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.way: Way = None
        self.watched = {name: Watched(situation.driver, name) for name in situation.actors}
        self.alive = {name: act(self.watched[name]) for name, act in situation.actors.items()}
        self._died: set[str] = set()
        for name in situation.actors:
            self._do(name)  # up to its first call, which it has not made then

    def go(self, way: tuple[Way, str]) -> None:
        """Go one choice on."""
        self._do(way[1])
        self.way = way

    def _do(self, choice: str) -> None:
        """`name`: that one takes a step. `name†`: it dies."""
        name = _who(choice)
        actor = self.alive[name]
        try:
            if name != choice:
                self.watched[name].dead = True
                self._died.add(name)
                actor.throw(Died())
            else:
                actor.send(None)
        except StopIteration as end:
            self.situation.results[name] = end.value
            del self.alive[name]
        except BaseException as error:
            del self.alive[name]
            if not isinstance(error, Died):
                raise

    def come_to(self) -> tuple[object, ...]:
        """What has become of each actor."""
        return tuple(self._come_to(name) for name in self.watched)

    def _come_to(self, name: str) -> object:
        if name in self.alive:
            return self.watched[name].heard
        return _DEAD if name in self._died else f"answered {self.situation.results[name]!r}"

    def close(self) -> None:
        for name, actor in self.alive.items():
            self.watched[name].dead = True
            with suppress(Died, StopIteration):
                actor.throw(Died())


@dataclass(frozen=True, slots=True)
class _Branch:
    """What may be done at a state: the way there and one choice more, by how many preemptions."""

    state: State
    way: tuple[Way, str]
    used: int

    @property
    def choice(self) -> str:
        return self.way[1]


class _Touches:
    """What is known so far of what each actor touches, and what was left out for believing that to be all."""

    def __init__(self) -> None:
        self._of: dict[str, set[Touch]] = {}
        self._alone: dict[tuple[str, Touch], list[_Branch]] = {}
        self._meeting: set[tuple[str, Touch]] = set()

    def add(self, name: str, touch: Touch) -> list[_Branch]:
        """Learn of a touch; what, as is now known, was left out wrongly."""
        touches = self._of.setdefault(name, set())
        if touch in touches:
            return []
        touches.add(touch)
        wrong = [alone for alone in self._alone if alone[0] != name and alone[1].meets(touch)]
        self._meeting |= {*wrong}
        return [branch for alone in wrong for branch in self._alone.pop(alone)]

    def is_alone(self, name: str, touch: Touch) -> bool:
        """Whether no other actor is known to touch anything by which the order would matter."""
        if (name, touch) in self._alone:
            return True
        if (name, touch) in self._meeting:
            return False
        if any(touch.meets(other) for actor, known in self._of.items() if actor != name for other in known):
            self._meeting.add((name, touch))
            return False
        self._alone[name, touch] = []
        return True

    def leave_out(self, name: str, touch: Touch, branches: Iterable[_Branch]) -> None:
        """Keep what is not tried since somebody's touch is alone."""
        self._alone[name, touch] += branches


class _Steps:
    """What is known of the steps of a situation's actors: where each leads."""

    def __init__(self, make: Callable[[], Situation]) -> None:
        self._make = make
        self._play = _Play(make())
        self.names = tuple(self._play.watched)
        self.mortal = self._play.situation.mortal
        objects = self._play.situation.driver.holding()
        self._contents: dict[int, Objects] = {0: objects}
        self._next: dict[tuple[str, object], Touch] = {}
        self._leads: dict[tuple[str, object, object], tuple[object, Changes]] = {}
        self._results: dict[object, object] = {}
        self._note()
        self.first: State = (0, self._play.come_to())

    def alive(self, state: State) -> list[str]:
        """Who can go on."""
        return [name for name, come_to in zip(self.names, state[1], strict=True) if isinstance(come_to, int)]

    def next(self, state: State, name: str) -> Touch:
        """What the next step of somebody touches."""
        return self._next[name, state[1][self.names.index(name)]]

    def situation(self, state: State) -> Situation:
        """The situation as it is in a state, without its actors."""
        situation = self._make()
        situation.driver.hold(self._contents[state[0]])
        situation.results |= {
            name: self._results[come_to]
            for name, come_to in zip(self.names, state[1], strict=True)
            if come_to in self._results
        }
        return situation

    def after(self, branch: _Branch) -> State:
        """Where a choice leads, be it by taking the step."""
        content, come_to = branch.state
        at = self.names.index(_who(branch.choice))
        if branch.choice.endswith(_DEAD):
            then: object = _DEAD
            changes: Changes = ()
        else:
            objects = self._contents[content]
            touch = self._next[branch.choice, come_to[at]]
            key = branch.choice, come_to[at], touch.found(objects)
            if key not in self._leads:
                self._leads[key] = self._take(branch, at, touch)
            then, changes = self._leads[key]
        return self._changed(content, changes), (*come_to[:at], then, *come_to[at + 1 :])

    def _take(self, branch: _Branch, at: int, touch: Touch) -> tuple[object, Changes]:
        play = self._reach(branch.way[0])
        reckoned = self._contents[branch.state[0]], branch.state[1]
        assert (play.situation.driver.holding(), play.come_to()) == reckoned
        play.go(branch.way)
        self._note()
        return play.come_to()[at], touch.left(play.situation.driver.holding())

    def _reach(self, way: Way) -> _Play:
        """The situation at the end of a way: from where the last one stands, if that lies on it."""
        ahead: list[tuple[Way, str]] = []
        while way is not None and way is not self._play.way:
            ahead.append(way)
            way = way[0]
        if way is not self._play.way:
            self.close()
            self._play = _Play(self._make())
        for one in reversed(ahead):
            self._play.go(one)
        return self._play

    def _note(self) -> None:
        """Keep what actors do next, or have answered."""
        for name, come_to in zip(self.names, self._play.come_to(), strict=True):
            if name in self._play.alive:
                next_ = self._play.watched[name].next
                assert next_ is not None
                self._next[name, come_to] = next_
            elif come_to != _DEAD:
                self._results[come_to] = self._play.situation.results[name]

    def _changed(self, content: int, changes: Changes) -> int:
        objects = self._contents[content]
        new = [(key, value) for key, value in changes if objects.get(key) != value]
        for key, value in new:
            content ^= _token(key, objects.get(key)) ^ _token(key, value)
        if new and content not in self._contents:
            then = {**objects, **dict(new)}
            self._contents[content] = {key: value for key, value in then.items() if value is not None}
        return content

    def close(self) -> None:
        self._play.close()


class _Exploration:
    """All that is known while the states of a situation are entered."""

    def __init__(self, make: Callable[[], Situation], preemptions: int | None) -> None:
        self.steps = _Steps(make)
        self.explored = Explored()
        self._preemptions = preemptions
        self._touches = _Touches()
        # With how many preemptions a state was entered: with fewer, more can be done from there.
        self._seen: dict[object, int] = {}
        self._judged: set[object] = set()
        self._pending: list[_Branch] = []

    def run(self) -> None:
        """Enter them all."""
        self._enter(self.steps.first, None, 0)
        while self._pending:
            branch = self._pending.pop()
            try:
                self._enter(self.steps.after(branch), branch.way, branch.used)
            except BaseException as error:
                error.add_note("by way of: " + " ".join(_choices(branch.way)))
                raise

    def _enter(self, state: State, way: Way, used: int) -> None:
        last = way[1] if way else ""
        # Whose turn it was makes a difference only where making way is counted.
        key = state if self._preemptions is None else (state, last)
        if self._seen.get(key, used + 1) <= used:
            return
        self.explored.states += key not in self._seen
        self._seen[key] = used
        alive = self.steps.alive(state)
        self._judge(state, alive)
        for name in alive:
            self._pending += self._touches.add(name, self.steps.next(state, name))
        choices = [*alive]
        if _DEAD not in state[1]:
            choices += [f"{name}{_DEAD}" for name in alive if name in self.steps.mortal]
        # Whoever went last goes on first, which is what is taken off the end.
        choices.sort(key=lambda choice: choice == last)
        branches = [
            _Branch(state, (way, choice), used + self._preempts(alive, last, choice)) for choice in choices
        ]
        for name in alive:
            touch = self.steps.next(state, name)
            if self._touches.is_alone(name, touch):
                others = [branch for branch in branches if _who(branch.choice) != name]
                self._touches.leave_out(name, touch, filter(self._may, others))
                branches = [_Branch(state, (way, choice), used) for choice in choices if _who(choice) == name]
                branches.sort(key=lambda branch: branch.choice == name)
                break
        self._pending += filter(self._may, branches)

    def _preempts(self, alive: list[str], last: str, choice: str) -> bool:
        return self._preemptions is not None and last in alive and _who(choice) != last

    def _may(self, branch: _Branch) -> bool:
        return self._preemptions is None or branch.used <= self._preemptions

    def _judge(self, state: State, alive: list[str]) -> None:
        """What must hold of what lies there and of what was answered is looked at once."""
        content, come_to = state
        told = content, tuple(one for one in come_to if not isinstance(one, int))
        if told not in self._judged:
            self._judged.add(told)
            self.steps.situation(state).always()
        if not alive:
            self.explored.ends += 1
            ways = zip(self.steps.names, come_to, strict=True)
            self.steps.situation(state).finally_(frozenset(name for name, one in ways if one == _DEAD))


def _token(key: str, value: Object | None) -> int:
    return 0 if value is None else hash((key, value))


def _who(choice: str) -> str:
    return choice.removesuffix(_DEAD)


def _choices(way: Way) -> list[str]:
    choices = []
    while way is not None:
        way, choice = way
        choices.append(choice)
    return choices[::-1]


def explore(make: Callable[[], Situation], *, preemptions: int | None = None) -> Explored:
    """Enter every state that the actors of a situation can bring about.

    With `preemptions` an actor that could go on makes way for another at most so often. What raises is told
    with its way there.
    """
    exploration = _Exploration(make, preemptions)
    try:
        exploration.run()
    finally:
        exploration.steps.close()
    return exploration.explored
