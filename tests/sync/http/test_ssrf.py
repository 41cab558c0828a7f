"""Addresses that users choose cannot lead into networks that are not theirs."""

from __future__ import annotations

import functools
import ipaddress
import socket
from typing import Any

import pytest

from app.demo.simulator import Simulator
from app.providers import openai
from app.sync.http import errors
from app.sync.http.client import new_client
from app.sync.http.fetch import fetch as patient_fetch
from app.sync.http.retry import RetryPolicy
from app.sync.http.ssrf import is_allowed
from app.vault import ApiKey

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
fetch = functools.partial(patient_fetch, retry_policy=RetryPolicy(max_attempts=1))
KEY = ApiKey("sk-good-key-of-a-test-1234")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",  # an address to refuse
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.20",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001::80ff:fffe",
        "::127.0.0.1",
        "::ffff:0:7f00:1",
        "fec0::1",
        "3fff::1",
        "5f00::1",
        "168.63.129.16",
        "192.0.0.192",
        "100.100.100.200",
        "192.88.99.1",
    ],
)
def test_private_and_special_addresses_are_refused(address: str) -> None:
    assert not is_allowed(address, ())


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(address, ())


def test_the_operator_can_open_a_network_and_opens_no_other() -> None:
    lan = (ipaddress.ip_network("192.168.1.0/24"),)
    assert is_allowed("192.168.1.20", lan)
    assert is_allowed("::ffff:192.168.1.20", lan)
    assert not is_allowed("192.168.2.20", lan)
    assert not is_allowed("127.0.0.1", lan)


def test_a_restricted_client_does_not_reach_this_machine(simulator: Simulator) -> None:
    with new_client(restricted=()) as client, pytest.raises(errors.PrivateAddressBlocked):
        fetch(openai.PROVIDER, KEY, client, base_url=simulator.base_urls["openai"])
    assert simulator.requests() == []


def test_a_restricted_client_reaches_what_the_operator_opened(simulator: Simulator) -> None:
    with new_client(restricted=LOOPBACK) as client:
        answer = fetch(openai.PROVIDER, KEY, client, base_url=simulator.base_urls["openai"])
    assert answer.models


def test_a_name_is_resolved_once_and_the_checked_address_is_used(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers a public address first and loopback afterwards (DNS rebinding) gains nothing."""
    port = int(simulator.url.rsplit(":", 1)[1])
    answers = iter(["93.184.215.14", "127.0.0.1", "127.0.0.1"])
    tried: list[Any] = []

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    def connect(address: Any, *_: Any, **__: Any) -> socket.socket:
        tried.append(address)
        raise OSError("no way out of a test")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with new_client(restricted=()) as client, pytest.raises(errors.Unreachable):
        fetch(openai.PROVIDER, KEY, client, base_url=f"http://rebinding.example:{port}/openai/v1")
    assert tried == [("93.184.215.14", port)]
    with new_client(restricted=()) as client, pytest.raises(errors.PrivateAddressBlocked):
        fetch(openai.PROVIDER, KEY, client, base_url=f"http://rebinding.example:{port}/openai/v1")


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0",
        "localhost",
        "localhost.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::]",
        "[64:ff9b::a9fe:a9fe]",
        "169.254.169.254",
        "127.0.0.1%2f@example.com",
        "１２７.0.0.1",  # digits that IDNA makes plain ones
    ],
)
def test_no_spelling_of_an_address_leads_to_this_machine(host: str, simulator: Simulator) -> None:
    port = simulator.url.rsplit(":", 1)[1]
    with new_client(restricted=()) as client, pytest.raises((errors.PrivateAddressBlocked, errors.ConnectionProblem)):
        fetch(openai.PROVIDER, KEY, client, base_url=f"http://{host}:{port}/openai/v1")
    assert simulator.requests() == []


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in ("93.184.215.14", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with new_client(restricted=()) as client, pytest.raises(errors.PrivateAddressBlocked):
        fetch(openai.PROVIDER, KEY, client, base_url="http://both.example/v1")


def test_a_proxy_of_the_environment_does_not_bypass_the_check(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, simulator.url)
    with new_client(restricted=()) as client, pytest.raises(errors.PrivateAddressBlocked):
        fetch(openai.PROVIDER, KEY, client, base_url="http://10.0.0.1/v1")
    assert simulator.requests() == []


def test_a_redirect_to_a_private_address_is_not_followed(simulator: Simulator) -> None:
    simulator.set_fault("openai", "redirect_elsewhere")
    with new_client(restricted=LOOPBACK) as client, pytest.raises(errors.Redirected):
        fetch(openai.PROVIDER, KEY, client, base_url=simulator.base_urls["openai"])
    assert simulator.unexpected_requests() == []
