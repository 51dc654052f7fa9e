from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.access.callers import Grants
from registry.access.logins import Origin
from registry.access.principals import ANONYMOUS, Principal
from registry.access.scopes import grants_of
from registry.access.tokens import KeyUnknown, TokenInvalid, Tokens, Verified
from tests.access.house import SERVICE, House

ALICE = Principal("user:alice", frozenset({"group:a"}))
GRANTS = Grants({"team/a": frozenset({"pull", "push"})}, frozenset({"catalog"}))


def forged(house: House, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> str:
    """A token of the registry's own key, changed before it is signed."""
    key = house.signing_keys.newest
    good = house.tokens.mint(ALICE, GRANTS).text
    header = jwt.get_unverified_header(good)
    claims = jwt.decode(good, options={"verify_signature": False})
    change(header, claims)
    return jwt.encode(claims, key.private, header.pop("alg"), headers=header)


async def test_a_token_says_who_somebody_is_and_what_it_is_good_for(house: House) -> None:
    await house.begin()
    minted = house.tokens.mint(ALICE, GRANTS)
    verified = house.tokens.verify(minted.text)
    assert (verified.principal, verified.grants) == (ALICE, GRANTS)
    assert verified is house.tokens.verify(minted.text), "remembered"
    anybody = house.tokens.verify(house.tokens.mint(ANONYMOUS, Grants()).text)
    assert (anybody.principal, anybody.grants) == (ANONYMOUS, Grants())


async def test_what_others_read_in_it(house: House) -> None:
    await house.begin()
    text = house.tokens.mint(ALICE, GRANTS).text
    assert jwt.get_unverified_header(text) == {
        "alg": "ES256",
        "typ": "at+jwt",
        "kid": house.signing_keys.newest.kid,
    }
    claims = jwt.decode(text, options={"verify_signature": False})
    now = int(house.clock.at.timestamp())
    assert claims == {
        "iss": "moorage:abc",
        "sub": "user:alice",
        "aud": SERVICE,
        "iat": now,
        "nbf": now - 10,
        "exp": now + 300,
        "jti": claims["jti"],
        "access": [
            {"type": "repository", "name": "team/a", "actions": ["pull", "push"]},
            {"type": "registry", "name": "catalog", "actions": ["*"]},
        ],
        "moorage": {"who": "user:alice", "groups": ["group:a"]},
    }
    assert (
        jwt.decode(house.tokens.mint(ANONYMOUS, Grants()).text, options={"verify_signature": False})["sub"]
        == ""
    )


async def test_it_lives_for_its_lifetime_and_no_longer(house: House) -> None:
    await house.begin()
    house.clock.at = house.clock.at.replace(year=2020)
    text = house.tokens.mint(ALICE, GRANTS).text
    house.clock.advance(minutes=5, seconds=-1)
    house.tokens.verify(text)
    house.clock.advance(seconds=1)
    for _ in range(2):
        with pytest.raises(TokenInvalid, match="expired"):
            house.tokens.verify(text)


async def test_tokens_for_another_service_do_not_count_here(house: House) -> None:
    await house.begin()
    text = house.tokens.mint(ALICE, GRANTS, "other.test").text
    assert jwt.decode(text, options={"verify_signature": False})["aud"] == "other.test"
    with pytest.raises(TokenInvalid):
        house.tokens.verify(text)
    strange = house.tokens.mint(ALICE, GRANTS, "strange.test").text
    assert jwt.decode(strange, options={"verify_signature": False})["aud"] == SERVICE


def set_claim(name: str, value: object) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda _, claims: claims.update({name: value})


def drop_claim(name: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda _, claims: claims.pop(name)


WRONG: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "another audience": set_claim("aud", "registry.test/abd"),
    "no audience": drop_claim("aud"),
    "another issuer": set_claim("iss", "moorage:abd"),
    "no issuer": drop_claim("iss"),
    "no end": drop_claim("exp"),
    "an end that is no time": set_claim("exp", "tomorrow"),
    "an end that is none": set_claim("exp", None),
    "an end beyond all numbers": set_claim("exp", 10**400),
    "expired": set_claim("exp", 1),
    "not yet valid": set_claim("nbf", 4_000_000_000),
    "from the future": set_claim("iat", 4_000_000_000),
    "no principal": drop_claim("moorage"),
    "a principal that is none": set_claim("moorage", "user:alice"),
    "a principal of nothing": set_claim("moorage", {}),
    "a bound that is none": set_claim("moorage", {"who": "key:ci", "bound": {}}),
    "no access": drop_claim("access"),
    "access that is none": set_claim("access", 1),
    "a type that is no access token's": lambda header, _: header.update(typ="JWT"),
    "no type": lambda header, _: header.update(typ=None),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_our_own_key_has_signed_must_be_right_too(house: House, wrong: str) -> None:
    await house.begin()
    house.clock.at = house.clock.at.fromtimestamp(time.time(), house.clock.at.tzinfo)
    house.tokens.verify(forged(house, lambda header, claims: None))
    with pytest.raises(TokenInvalid):
        house.tokens.verify(forged(house, WRONG[wrong]))  # type: ignore[arg-type]


def encoded(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], text: str, signature: bytes = b"") -> str:
    return (
        f"{encoded(header)}.{text.split('.')[1]}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    )


async def test_what_somebody_else_has_signed_is_not_believed(house: House) -> None:
    await house.begin()
    good = house.tokens.mint(ALICE, GRANTS).text
    key = house.signing_keys.newest
    header = jwt.get_unverified_header(good)
    claims = jwt.decode(good, options={"verify_signature": False})
    other = ec.generate_private_key(ec.SECP256R1())
    public = key.public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    head = unsigned({**header, "alg": "HS256"}, good).rsplit(".", 1)[0]
    attempts = {
        "another key": jwt.encode(claims, other, "ES256", headers=header),
        "none": unsigned({**header, "alg": "none"}, good),
        "None": unsigned({**header, "alg": "None"}, good),
        "the public key as a secret": unsigned(
            {**header, "alg": "HS256"}, good, hmac.sign(head.encode(), public)
        ),
        "another algorithm": unsigned({**header, "alg": "ES384"}, good, b"x" * 96),
        "no signature": good.rsplit(".", 1)[0] + ".",
        "a changed claim": ".".join(
            [
                good.split(".")[0],
                base64.urlsafe_b64encode(json.dumps(claims | {"sub": "user:root"}).encode())
                .rstrip(b"=")
                .decode(),
                good.split(".")[2],
            ]
        ),
        "critical": jwt.encode(
            claims, key.private, "ES256", headers={**header, "crit": ["b64"], "b64": False}
        ),
    }
    for name, text in attempts.items():
        with pytest.raises(TokenInvalid):
            house.tokens.verify(text)
            pytest.fail(name)
    with pytest.raises(KeyUnknown):
        house.tokens.verify(unsigned({**header, "kid": "other"}, good))
    with pytest.raises(TokenInvalid):
        house.tokens.verify(unsigned({**header, "kid": ["a"]}, good))


async def test_a_token_comes_in_one_spelling(house: House) -> None:
    await house.begin()
    signature = ""
    while not {"-", "_"} & set(signature):
        good = house.tokens.mint(ALICE, GRANTS).text
        signed, _, signature = good.rpartition(".")
    # Of the last letter of 64 bytes only two bits count.
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = letters.index(signature[-1])
    others = [signature[:-1] + letters[last ^ bits] for bits in range(1, 16)]
    standard = signature.replace("-", "+").replace("_", "/")
    for wrong in [*others, standard, f"{signature}=", f"{signature}=="]:
        with pytest.raises(TokenInvalid):
            house.tokens.verify(f"{signed}.{wrong}")
    house.tokens.verify(good)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text() | st.binary().map(lambda data: f"ey{data!r}.a.b") | st.just("." * 9000))
async def test_nothing_malformed_is_anything_else(house: House, text: str) -> None:
    tokens = Tokens(
        house.signing_keys,
        issuer="i",
        service="s",
        others=(),
        lifetime=timedelta(minutes=5),
        now=house.clock.now,
        unique=lambda: "u",
    )
    with pytest.raises(TokenInvalid):
        tokens.verify(text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
async def test_a_token_that_was_changed_is_none(house: House, data: st.DataObject) -> None:
    if not house.signing_keys.jwks()["keys"]:
        await house.begin()
    good = house.tokens.mint(ALICE, GRANTS).text
    house.tokens.verify(good)
    place = data.draw(st.integers(0, len(good)))
    cut = data.draw(st.integers(place, min(len(good), place + 3)))
    put = data.draw(st.text(max_size=3) | st.text("AQgw-_=+/. ", max_size=3))
    changed = good[:place] + put + good[cut:]
    if changed != good:
        with pytest.raises(TokenInvalid):
            house.tokens.verify(changed)


def written(members: Iterable[tuple[str, object]], comma: str, colon: str) -> str:
    """An object in JSON, with its members in this order, and some of them perhaps twice."""
    return f"{{{comma.join(json.dumps(name) + colon + json.dumps(value) for name, value in members)}}}"


MEMBERS: list[tuple[str, object]] = [
    ("iss", "moorage:abc"),
    ("aud", SERVICE),
    ("iat", 1_767_225_600),
    ("nbf", 1_767_225_600),
    ("exp", 1_767_225_900),
    ("access", [{"type": "repository", "name": "team/a", "actions": ["pull"]}]),
    ("moorage", {"who": "user:alice"}),
]
OTHERS: list[tuple[str, object]] = [
    ("exp", 1_767_225_800),
    ("exp", 1),
    ("sub", ',"access":[],"moorage":{"who":"user:root"}}'),
    ("sub", '",\\"access":'),
    ("of others", {"a": 1, "access": [], "moorage": {"who": "user:root"}}),
    ("access", [{"type": "registry", "name": "catalog", "actions": ["*"]}]),
    ("moorage", {"who": "user:bob", "claims": {"a": "b", "access": "c"}}),
    ("moorage", {"who": "user:bob"}),
]
PAYLOADS = st.builds(
    lambda front, back, others, mixed, comma, colon: written(
        mixed([*front, *others, *back]) if mixed else [*front, *others, *back], comma, colon
    ),
    st.permutations(MEMBERS[:5]),
    st.just(MEMBERS[5:]),
    st.lists(st.sampled_from(OTHERS), max_size=3),
    st.none() | st.randoms().map(lambda random: lambda members: random.sample(members, len(members))),
    st.sampled_from([",", ", "]),
    st.sampled_from([":", ": "]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(payloads=st.lists(PAYLOADS, min_size=2, max_size=4))
async def test_what_is_remembered_of_one_token_is_not_read_into_another(
    house: House, payloads: list[str]
) -> None:
    if not house.signing_keys.jwks()["keys"]:
        await house.begin()
    key = house.signing_keys.newest
    head = house.tokens.mint(ALICE, GRANTS).text.split(".")[0]
    for payload in payloads:
        signed = f"{head}.{base64.urlsafe_b64encode(payload.encode()).rstrip(b'=').decode()}"
        signature = jwt.algorithms.get_default_algorithms()[key.algorithm].sign(signed.encode(), key.private)
        text = f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        claims = json.loads(payload)
        if claims["exp"] == 1:
            with pytest.raises(TokenInvalid, match="expired"):
                house.tokens.verify(text)
            continue
        verified = house.tokens.verify(text)
        assert verified.expires_at == claims["exp"]
        assert verified.principal == Principal.of(claims["moorage"])
        assert verified.grants == grants_of(claims["access"])


@pytest.mark.parametrize("wrong", ["{}", "[]", "1", "{}{}", '{"a":1}x', "{", "", "\xff", '{"a":1,}', "{,"])
async def test_a_payload_is_one_object(house: House, wrong: str) -> None:
    await house.begin()
    key = house.signing_keys.newest
    head, payload, _ = house.tokens.mint(ALICE, GRANTS).text.split(".")
    said = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    # As it is, before the end that a token before it had, and behind a payload that is right.
    for text in (wrong, wrong + said[said.index(',"access":') :], said + (wrong or " ")):
        house.tokens.verify(house.tokens.mint(ALICE, GRANTS).text)
        signed = f"{head}.{base64.urlsafe_b64encode(text.encode('latin-1')).rstrip(b'=').decode()}"
        signature = jwt.algorithms.get_default_algorithms()[key.algorithm].sign(signed.encode(), key.private)
        with pytest.raises(TokenInvalid):
            house.tokens.verify(f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


async def test_tokens_of_somebody_for_the_same_things_share_what_they_say(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.access.tokens._ENDS", 2)
    await house.begin()

    def verified(principal: Principal, grants: Grants) -> Verified:
        return house.tokens.verify(house.tokens.mint(principal, grants).text)

    first = verified(ALICE, GRANTS)
    house.clock.advance(seconds=30)
    again = verified(ALICE, GRANTS)
    assert again.expires_at == first.expires_at + 30
    assert (again.principal, again.grants) == (ALICE, GRANTS)
    assert again.principal is first.principal
    assert again.grants is first.grants
    verified(ALICE, Grants())
    verified(ANONYMOUS, GRANTS)
    assert verified(ALICE, GRANTS).principal is not first.principal, "so many are remembered, and no more"


async def test_a_new_key_logs_nobody_out(house: House) -> None:
    await house.begin()
    old = house.tokens.mint(ALICE, GRANTS).text
    other = await House(driver=house.driver, clock=house.clock).begin()
    await other.stored_keys.rotate(revoke=False)
    await other.signing_keys.look()
    new = other.tokens.mint(ALICE, GRANTS).text
    other.tokens.verify(old)
    with pytest.raises(KeyUnknown):
        house.tokens.verify(new)
    house.clock.advance(seconds=2)
    caller = await house.gate.caller([f"Bearer {new}"], Origin("127.0.0.1"))
    assert caller.principal == ALICE, "who meets a new key looks for it"
    assert len(house.signing_keys.jwks()["keys"]) == 2
    other.close()


async def test_a_key_that_is_revoked_takes_along_what_it_has_signed(house: House) -> None:
    await house.begin()
    old = house.tokens.mint(ALICE, GRANTS).text
    unseen = house.tokens.mint(ALICE, GRANTS).text
    house.tokens.verify(old)
    await house.stored_keys.rotate(revoke=True)
    await house.signing_keys.look()
    for text in old, unseen:
        with pytest.raises(KeyUnknown):
            house.tokens.verify(text)


async def test_an_old_key_retires_when_its_tokens_have_died(house: House) -> None:
    await house.begin()
    await house.stored_keys.rotate(revoke=False)
    house.clock.advance(seconds=359)
    assert not await house.stored_keys.retire(360, house.clock.seconds())
    house.clock.advance(seconds=1)
    assert await house.stored_keys.retire(360, house.clock.seconds())
    await house.signing_keys.look()
    assert len(house.signing_keys.jwks()["keys"]) == 1
    assert not await house.stored_keys.retire(360, house.clock.seconds())


async def test_the_first_processes_agree_on_their_key(house: House) -> None:
    others = [await House(driver=house.driver, clock=house.clock).begin() for _ in range(3)]
    assert len({other.signing_keys.newest.kid for other in others}) == 1
    for other in others:
        other.close()
