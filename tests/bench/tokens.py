"""What tokens cost: to look at one that is known, to verify a new one, and to make one.

There is nothing to set them against in Distribution, which has no token server. In its place stands what the
same machine needs for the bare signature, in this process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import median
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.api.people import Login, add_users
from tests.bench.connection import Connection
from tests.bench.content import config, manifest
from tests.bench.contestants import Contestant
from tests.bench.figures import Figure, Goal, Rounds, Unit, per_unit
from tests.bench.processor import settled_nanoseconds
from tests.bench.pushing import push_docker, push_manifest
from tests.bench.trials import Ground, Trial

REPOSITORY = "bench/tokens"
RULES = f"""\
- {{who: anonymous, repositories: ['{REPOSITORY}'], may: [pull, push]}}
- {{who: user:bench, repositories: ['{REPOSITORY}'], may: [pull, push]}}
"""
IN_TURN = 100
BLOCKS = 20
ADDED_SECONDS = 40e-6
BARE_RATIO = 1.2
# Seconds: a known token adds, a new one adds, making one takes; the bare verification, the same between two
# requests, the bare signature.
Spent = tuple[float, float, float, float, float, float]


def tokens(ground: Ground) -> list[Figure]:
    """The processor time that tokens add to requests, and that making them takes."""
    folder = ground.folder / "tokens"
    login = add_users(folder / "data", ["bench"])["bench"]
    (folder / "access.yaml").write_text(RULES)
    settings = {"access": {"rules_file": str(folder / "access.yaml")}}
    rounds: list[Spent] = []
    with (
        ground.server("moorage", settings=settings, root=folder / "data") as server,
        Connection(server.host_port) as connection,
    ):
        path = content(connection)
        for number in range(ground.scale.repeats + 1):
            found = one_round(server, connection, path, login, ground.scale.requests)
            if number == 0:
                continue  # that one only warms up
            rounds.append(found)
            ground.tell(f"tokens: {number} of {ground.scale.repeats}")
    known, new, making, verified, between, signed = zip(*rounds, strict=True)
    nothing = tuple(0.0 for _ in known)
    request = Unit("s / request")
    return [
        Figure(
            *("token-known", f"added to a manifest GET by one of {IN_TURN} tokens in turn", request),
            *(Rounds(known, nothing), Goal(ADDED_SECONDS, of_ratio=False)),
        ),
        Figure(
            *("token-new", "added by a token that was never seen; beside it the bare verification", request),
            *(Rounds(new, verified), Goal(BARE_RATIO)),
        ),
        Figure(
            *("token-new-between", "the same; beside it the bare verification between two requests", request),
            Rounds(new, between),
        ),
        Figure(
            *(
                "token-made",
                "a token for a name and password; beside it the bare signature",
                Unit("s / token"),
            ),
            Rounds(making, signed),
        ),
    ]


def one_round(server: Contestant, connection: Connection, path: str, login: Login, count: int) -> Spent:
    """The medians of many blocks of a few requests.

    What a token adds is a small difference of two amounts: they are taken one after the other, so that a slow
    spell of the machine is in both, or in few blocks.
    """
    size = max(1, count // BLOCKS)
    few = headers(token(connection, login) for _ in range(IN_TURN))
    asked(server, connection, path, few)
    blocks = []
    for number in range(-(-count // size)):
        texts, making = made(server, connection, login, size)
        turns = [few[(number * size + one) % IN_TURN] for one in range(size)]
        bare = asked(server, connection, path, [""] * size)
        again = asked(server, connection, path, turns)
        fresh = asked(server, connection, path, headers(texts))
        bares = signatures(texts, lambda: connection.ask("GET", path, 200))
        blocks.append((again - bare, fresh - bare, making, *bares))
    known, new, making, verified, between, signed = (median(one) for one in zip(*blocks, strict=True))
    return max(0.0, known), max(0.0, new), making, verified, between, signed


def content(connection: Connection) -> str:
    """Push a manifest, as whoever may; its path."""
    shared = config()
    push_docker(connection, REPOSITORY, shared)
    push_manifest(connection, REPOSITORY, manifest((shared,)), "latest")
    return f"/v2/{REPOSITORY}/manifests/latest"


def token(connection: Connection, login: Login) -> str:
    """A new token."""
    query = urlencode([("service", "bench"), ("scope", f"repository:{REPOSITORY}:pull")])
    basic = f"Authorization: {login.basic['Authorization']}\r\n"
    text = json.loads(connection.ask("GET", f"/auth/token?{query}", 200, basic).body)["token"]
    assert isinstance(text, str)
    return text


def headers(texts: Iterable[str]) -> list[str]:
    """The headers that bring tokens along."""
    return [f"Authorization: Bearer {text}\r\n" for text in texts]


def made(server: Contestant, connection: Connection, login: Login, count: int) -> tuple[list[str], float]:
    """New tokens, and the server's seconds for each."""
    texts: list[str] = []

    def make() -> None:
        texts.extend(token(connection, login) for _ in range(count))

    seconds = spent(server, make, count)
    return texts, seconds


def asked(server: Contestant, connection: Connection, path: str, turns: Sequence[str]) -> float:
    """The server's seconds for a request with each of these headers."""

    def ask() -> None:
        for header in turns:
            connection.ask("GET", path, 200, header)

    return spent(server, ask, len(turns))


def spent(server: Contestant, work: Callable[[], object], units: float) -> float:
    """The server's seconds for a unit of some work."""
    before = settled_nanoseconds(server.pid)
    work()
    return per_unit(settled_nanoseconds(server.pid) - before, units)


def signatures(texts: Sequence[str], ask: Callable[[], object]) -> tuple[float, float, float]:
    """This machine's seconds to verify and to make the signature of such tokens, with nothing around it.

    In a row, what that takes stays in the processor's caches; a server does much else in between. So it is
    also verified behind a request of ours each time.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    claims = [jwt.decode(text, options={"verify_signature": False}) for text in texts]
    mine: list[str] = []

    def sign() -> None:
        mine.extend(jwt.encode(one, key, "ES256") for one in claims)

    def verify(some: Sequence[str]) -> None:
        for one in some:
            jwt.decode(one, public, algorithms=["ES256"], options={"verify_aud": False, "verify_iss": False})

    signed = timed(sign, len(texts))
    verified = timed(lambda: verify(mine), len(mine))
    between = 0.0
    for text in mine:
        ask()
        between += timed(partial(verify, [text]), len(mine))
    return verified, between, signed


def timed(work: Callable[[], None], units: int) -> float:
    """The seconds of processor time that some work takes here for a unit."""
    before = time.process_time_ns()
    work()
    return per_unit(time.process_time_ns() - before, units)


TRIALS = (Trial(("token-known", "token-new", "token-new-between", "token-made"), tokens),)
