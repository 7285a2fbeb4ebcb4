"""How a method and a path find their route."""

from __future__ import annotations

import pytest

from interlock.core.kernel.errors import MethodNotAllowed, NotFound
from interlock.core.kernel.ids import id_pattern
from interlock.entrypoints.http.routing import Answer, Call, Route, RouteTable

ID = "pay_" + "01" * 13


async def _nothing(_: Call) -> Answer:
    return Answer(204)


def _route(method: str, path: str, **patterns: str) -> Route:
    return Route(
        method=method, path=path, endpoint=_nothing, operation_id=f"{method} {path}", summary="", path_patterns=patterns
    )


TABLE = RouteTable(
    [
        _route("GET", "/v1/things"),
        _route("POST", "/v1/things"),
        _route("GET", "/v1/things/{id}", id=id_pattern("pay")),
        _route("GET", "/v1/things/newest"),
        _route("POST", "/v1/things/{id}/parts/{part}", id=id_pattern("pay")),
        _route("GET", "/v1/named/{name}"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "template", "parameters"),
    [
        ("GET", "/v1/things", "/v1/things", {}),
        ("POST", "/v1/things", "/v1/things", {}),
        ("GET", f"/v1/things/{ID}", "/v1/things/{id}", {"id": ID}),
        ("GET", "/v1/things/newest", "/v1/things/newest", {}),
        ("POST", f"/v1/things/{ID}/parts/x-1", "/v1/things/{id}/parts/{part}", {"id": ID, "part": "x-1"}),
        ("GET", "/v1/named/newest", "/v1/named/{name}", {"name": "newest"}),
    ],
)
def test_path_finds_its_route_and_parameters(method, path, template, parameters):
    match = TABLE.match(method, path)
    assert (match.route.method, match.route.path, dict(match.params)) == (method, template, parameters)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1",
        "/v1/things/",
        "//v1/things",
        f"/v1/things/{ID}/",
        f"/v1/things/{ID}\n",
        f"/v1/things/{ID}x",
        f"/v1/things/{ID}/parts",
        f"/v1/things/{ID.upper()}",
        "/v1/things/ref_" + "01" * 13,
        "/v1/things/pay_" + "u1" * 13,
        "/v1/named/" + "x" * 65,
        "/v1/named/a b",
        "/v1/named/..",
    ],
)
def test_other_path_is_not_found(path):
    with pytest.raises(NotFound):
        TABLE.match("GET", path)


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v1/things", ("GET", "HEAD", "POST")), (f"/v1/things/{ID}/parts/a", ("POST",))]
)
def test_other_method_is_refused_and_the_allowed_ones_are_known(path, allowed):
    with pytest.raises(MethodNotAllowed):
        TABLE.match("DELETE", path)
    assert TABLE.allowed(path) == allowed


def test_two_routes_for_one_place_are_refused():
    for path in ("/a", "/a/{id}"):
        with pytest.raises(ValueError, match="two routes"):
            RouteTable([_route("GET", path), _route("GET", path)])


def test_two_routes_of_one_name_are_refused():
    one = _route("GET", "/a")
    with pytest.raises(ValueError, match="two routes are called"):
        RouteTable([one, Route(method="GET", path="/b", endpoint=_nothing, operation_id=one.operation_id, summary="")])
