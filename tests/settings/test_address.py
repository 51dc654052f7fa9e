"""Addresses to listen at, as operators write them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from registry.settings import Address, Listen


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:5000", "127.0.0.1", 5000, True),
        ("[::1]:5000", "::1", 5000, True),
        ("localhost:0", "localhost", 0, True),
        ("127.9.9.9:1", "127.9.9.9", 1, True),
        (":5000", "", 5000, False),
        ("0.0.0.0:65535", "0.0.0.0", 65535, False),
        ("[::]:5000", "::", 5000, False),
        ("registry.example:443", "registry.example", 443, False),
        ("localhost.example:443", "localhost.example", 443, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.loopback) == (host, port, loopback)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "5000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:http", "::1:5000", "[::1]"),
        *("[]:5000", "[127.0.0.1]:5000", "http://127.0.0.1:5000", "host:5000/", " :5000", ":5000\n", ":-1"),
    ],
)
def test_what_is_no_address_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValidationError, match=r"127\.0\.0\.1:5000|no IPv6 address"):
        TypeAdapter(Listen).validate_python(text)
