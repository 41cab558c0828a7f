"""Half a minute of random `kill -9`, after which the installation is in order. Longer: `python -m tests.kills`."""

from __future__ import annotations

import random

import pytest

from tests.conftest import both_databases
from tests.kills.__main__ import kill_for

pytestmark = [both_databases, pytest.mark.slow, pytest.mark.timeout(400)]


def test_killed_at_any_moment_of_a_chore_an_installation_is_in_order_and_every_key_opens(database_url: str) -> None:
    seed = random.randrange(10**6)  # no secret
    report = kill_for(25, seed, database_url)
    assert not report.wrong, f"seed {seed}, {report}\n" + "\n".join(report.wrong)
    assert sum(count for what, count in report.did.items() if what.startswith("killed")) > 1, str(report)
