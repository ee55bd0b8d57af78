"""Random requests to the API: each answer has the right form, and the state stays consistent."""

from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lab.proxy.rig import SEED, ProxyProcess, Upstream, connect, round_trip_s

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
WORD = st.sampled_from(["latency", "bandwidth", "slicer", "timeout", "limit_data", "noop", "x"])
STREAM = st.sampled_from(["upstream", "downstream", "DOWNSTREAM", "sideways"])
NUMBER = st.integers(-10, 10) | st.integers() | st.floats() | JSON
TOXIC = st.fixed_dictionaries(
    {},
    optional={
        "type": WORD | JSON,
        "name": st.text(max_size=5) | JSON,
        "stream": STREAM | JSON,
        "toxicity": NUMBER,
        "ttl": NUMBER,
        "seed": NUMBER,
        "attributes": JSON
        | st.dictionaries(
            st.sampled_from(["latency", "jitter", "rate", "bytes", "timeout", "average_size"]),
            NUMBER,
        ),
    },
)
BODY = TOXIC | JSON | st.binary(max_size=30)
FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def assert_in_form(status: int, answer: Any, allowed: set[int]) -> None:
    assert status in allowed, (status, answer, SEED)
    if status >= 400:
        assert answer["status"] == status
        assert answer["error"]


@FEW
@given(body=BODY)
def test_any_toxic_body_is_accepted_or_refused(
    lab: ProxyProcess, echoing: Upstream, body: Any
) -> None:
    if "edge" not in lab.client.list():
        lab.edge(echoing)
    status, answer = lab.call("POST", "/proxies/edge/toxics", body)
    assert_in_form(status, answer, {200, 400, 409})
    _, listed = lab.call("GET", "/proxies/edge/toxics")
    assert (answer in listed) == (status == 200)
    if status == 200:
        path = f"/proxies/edge/toxics/{quote(answer['name'], safe='')}"
        status, changed = lab.call("PATCH", path, body)
        # a name that does not fit in a path can only be removed by reset
        assert status in {200, 400, 404, 405}, changed
    assert lab.call("POST", "/reset") == (204, "")
    round_trip_s(connect(lab.client.list()["edge"].port))


@FEW
@given(
    body=BODY | st.fixed_dictionaries({"name": st.text(), "upstream": st.text(), "listen": JSON})
)
def test_any_proxy_body_is_accepted_or_refused(lab: ProxyProcess, body: Any) -> None:
    for method, path in (("POST", "/proxies"), ("POST", "/populate")):
        status, answer = lab.call(method, path, body)
        assert_in_form(status, answer, {201, 400, 409, 500})
    for name in lab.client.list():
        lab.call("DELETE", f"/proxies/{quote(name, safe='')}")


@FEW
@given(
    body=JSON
    | st.fixed_dictionaries(
        {}, optional={"listen": st.text(max_size=12) | JSON, "enabled": JSON, "ttl": NUMBER}
    )
)
def test_any_change_leaves_a_proxy_that_works(
    lab: ProxyProcess, echoing: Upstream, body: Any
) -> None:
    if "edge" not in lab.client.list():
        lab.edge(echoing)
    status, answer = lab.call("PATCH", "/proxies/edge", body)
    assert_in_form(status, answer, {200, 400, 500})
    lab.client.enable("edge", True)
    round_trip_s(connect(lab.client.list()["edge"].port))
