"""What tokens cost: to look at one that is known, to verify a new one, and to make one.

There is nothing to set them against in Distribution, which has no token server. In its place stands what the
same machine needs for the bare signature, in this process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
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
ADDED_SECONDS = 40e-6
BARE_RATIO = 1.2


def tokens(ground: Ground) -> list[Figure]:
    """The processor time that tokens add to requests, and that making them takes."""
    folder = ground.folder / "tokens"
    login = add_users(folder / "data", ["bench"])["bench"]
    (folder / "access.yaml").write_text(RULES)
    settings = {"access": {"rules_file": str(folder / "access.yaml")}}
    known: list[float] = []
    new: list[float] = []
    made: list[float] = []
    verified: list[float] = []
    signed: list[float] = []
    with (
        ground.server("moorage", settings=settings, root=folder / "data") as server,
        Connection(server.host_port) as connection,
    ):
        path, count = content(connection), ground.scale.requests
        for number in range(ground.scale.repeats + 1):
            texts = [token(connection, login) for _ in range(count + IN_TURN)]
            few = headers(texts[:IN_TURN])
            bare = asked(server, connection, path, [""] * count)
            asked(server, connection, path, few)
            again = asked(server, connection, path, (few * count)[:count])
            fresh = asked(server, connection, path, headers(texts[IN_TURN:]))
            making = spent(server, lambda: [token(connection, login) for _ in range(IN_TURN)], IN_TURN)
            if number == 0:
                continue  # that one only warms up
            known.append(max(0.0, again - bare))
            new.append(max(0.0, fresh - bare))
            made.append(making)
            verify, sign = signatures(texts[0])
            verified.append(verify)
            signed.append(sign)
            ground.tell(f"tokens: {number} of {ground.scale.repeats}")
    nothing = tuple(0.0 for _ in known)
    request = Unit("s / request")
    return [
        Figure(
            *("token-known", f"added to a manifest GET by one of {IN_TURN} tokens in turn", request),
            *(Rounds(tuple(known), nothing), Goal(ADDED_SECONDS, of_ratio=False)),
        ),
        Figure(
            *("token-new", "added by a token that was never seen; beside it the bare verification", request),
            *(Rounds(tuple(new), tuple(verified)), Goal(BARE_RATIO)),
        ),
        Figure(
            *(
                "token-made",
                "a token for a name and password; beside it the bare signature",
                Unit("s / token"),
            ),
            Rounds(tuple(made), tuple(signed)),
        ),
    ]


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


def headers(texts: Sequence[str]) -> list[str]:
    """The headers that bring tokens along."""
    return [f"Authorization: Bearer {text}\r\n" for text in texts]


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


def signatures(text: str) -> tuple[float, float]:
    """This machine's seconds to verify and to make the signature of a token, with nothing around it."""
    key = ec.generate_private_key(ec.SECP256R1())
    claims = jwt.decode(text, options={"verify_signature": False})
    mine = jwt.encode(claims, key, "ES256")
    public = key.public_key()

    def verify() -> None:
        jwt.decode(mine, public, algorithms=["ES256"], options={"verify_aud": False, "verify_iss": False})

    return timed(verify), timed(lambda: jwt.encode(claims, key, "ES256"))


def timed(work: Callable[[], object], times: int = 300) -> float:
    """The seconds of processor time that some work takes here."""
    before = time.process_time_ns()
    for _ in range(times):
        work()
    return per_unit(time.process_time_ns() - before, times)


TRIALS = (Trial(("token-known", "token-new", "token-made"), tokens),)
