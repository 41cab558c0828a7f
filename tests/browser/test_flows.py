"""Each flow at a desk and on a phone, with JavaScript and without it."""

from __future__ import annotations

import pytest

from tests.browser.flows import FLOWS, Flow
from tests.browser.house import NARROW, SIZES, WIDE, House

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("width", "script"),
    [
        pytest.param(WIDE, True, id="wide-with-script"),
        pytest.param(NARROW, False, id="narrow-without-script"),
        pytest.param(NARROW, True, id="narrow-with-script", marks=pytest.mark.full),
        pytest.param(WIDE, False, id="wide-without-script", marks=pytest.mark.full),
    ],
)
@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_a_flow(house: House, flow: Flow, width: int, script: bool) -> None:
    with house.person(flow.who, viewport=SIZES[width], java_script_enabled=script) as someone:
        flow.act(someone, house)
        # Chromium reports what a flow asks for on purpose: to be refused.
        someone.complaints[:] = [one for one in someone.complaints if "status of 422" not in one]
