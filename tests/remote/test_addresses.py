"""Which addresses a server may be made to connect to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.remote.addresses import Addresses

HERE = ipaddress.ip_network("127.0.0.1/32")


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "10.1.2.3",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "2001:4860:4860::8888",
        "fd12:3456::1",
    ],
)
def test_the_world_and_private_networks_may_be(address: str) -> None:
    assert Addresses(()).refusal(address) is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "this machine"),
        ("127.255.255.254", "this machine"),
        ("::1", "this machine"),
        ("169.254.169.254", "link-local"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("0.0.0.0", "no host"),
        ("0.1.2.3", "no host"),
        ("::", "no host"),
        ("224.0.0.1", "no host"),
        ("ff02::1", "no host"),
        ("255.255.255.255", "no host"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("::ffff:127.0.0.1", "this machine"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::127.0.0.1", "this machine"),
        ("64:ff9b::7f00:1", "this machine"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("2002:7f00:1::", "this machine"),
        ("2002:a9fe:a9fe::1", "link-local"),
        ("example.com", "no address"),
        ("", "no address"),
    ],
)
def test_what_is_not_for_others_to_choose_may_not_be(address: str, reason: str) -> None:
    told = Addresses(()).refusal(address)
    assert told is not None and reason in told


def test_what_is_listed_may_be() -> None:
    addresses = Addresses([HERE, ipaddress.ip_network("fe80::/64")])
    assert addresses.refusal("127.0.0.1") is None
    assert addresses.refusal("::ffff:127.0.0.1") is None
    assert addresses.refusal("fe80::1%eth0") is None
    assert addresses.refusal("127.0.0.2") is not None
    assert addresses.refusal("::1") is not None


@given(st.ip_addresses(v=4))
def test_an_address_in_other_clothes_is_judged_like_itself(address: ipaddress.IPv4Address) -> None:
    addresses = Addresses([HERE])
    plain = addresses.refusal(str(address))
    for text in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert addresses.refusal(text) == plain
