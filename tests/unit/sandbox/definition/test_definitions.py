"""The pure parts: ids, shapes, the tree, service ports, versions, selectors, and that what is stored is stable."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.sandbox.contract import Group, Settings
from shuren.sandbox.definition import apps, changes, paths, root_rules, selectors, service_ports, shape, timestamps, tree, versions
from shuren.sandbox.definition.errors import ApiError, Violation

NOW, LATER = "2026-11-23T20:00:00.001Z", "2026-11-23T20:00:00.002Z"
SETTINGS = Settings()
EMPTY = Group(id="/", version="2026-11-23T20:00:00.000Z")
IDS = st.lists(st.sampled_from(["a", "b", "..", ".", "c-d"]), max_size=5).map("/".join)


@given(path=IDS, base=IDS)
def test_absolute_ids_are_absolute_and_stay(path: str, base: str) -> None:
    found = paths.absolute(path, paths.absolute(base))
    assert found.startswith("/")
    assert paths.absolute(found, "/elsewhere") == found
    assert not {".", ".."} & set(paths.segments(found))


@given(path=IDS)
def test_ancestors_end_at_the_root(path: str) -> None:
    found = paths.absolute(path)
    above = paths.ancestors(found)
    assert above == ([] if found == "/" else [paths.parent(found), *paths.ancestors(paths.parent(found))])


def read(what: shape.Shape, value: Any) -> tuple[Any, list[tuple[str, str]]]:
    out: list[Violation] = []
    return what.read(value, "", out), [(violation.path, violation.message) for violation in out]


@pytest.mark.parametrize(
    ("what", "value", "errors"),
    [
        (shape.Text(), None, ["error.expected.jsstring"]),
        (shape.Text(min_length=1, pattern="[a-z]+"), "", ["error.minLength", "error.pattern"]),
        (shape.Text(max_length=1), "ab", ["error.maxLength"]),
        (shape.Int(), True, ["error.expected.jsnumber"]),
        (shape.Int(), 2**31, ["error.expected.int"]),
        (shape.Int(long=True), 2**63, ["error.expected.long"]),
        (shape.Int(), float("inf"), ["error.expected.int"]),
        (shape.Int(minimum=3, maximum=1), 2, ["error.min", "error.max"]),
        (shape.Double(), "1", ["error.expected.jsnumber"]),
        (shape.Bool(), 1, ["error.expected.jsboolean"]),
        (shape.Enum(literals=("A",)), 1, ["error.expected.jsstring"]),
        (shape.Items(of=shape.Text()), {}, ["error.expected.jsarray"]),
        (shape.Items(of=shape.Text(), min_items=1), [], ["error.minLength"]),
        (shape.MapOf(of=shape.Text()), [], ["error.expected.jsobject"]),
        (shape.Timestamp(), "2020-01-01", ["error.expected.date.isoformat"]),
        (shape.Timestamp(), 5, ["error.expected.date.isoformat"]),
    ],
)
def test_codes_of_shapes(what: shape.Shape, value: Any, errors: list[str]) -> None:
    assert [message for _, message in read(what, value)[1]] == errors


def test_defaults_are_not_shared() -> None:
    what = shape.Obj((shape.optional("list", shape.Items(of=shape.Text()), []),))
    first, second = read(what, {})[0], read(what, {})[0]
    first["list"].append("x")
    assert second == {"list": []}


def test_paths_of_errors() -> None:
    what = shape.Obj((shape.required("a", shape.Items(of=shape.Obj((shape.required("b", shape.Int()),)))),))
    assert read(what, {"a": [{}, {"b": "x"}, 5]})[1] == [
        ("/a(0)/b", "'b' is undefined on object: {}"),
        ("/a(1)/b", "error.expected.jsnumber"),
        ("/a(2)/b", "5 is not an object"),
    ]


def stored(root: Group, body: dict[str, Any], now: str = NOW) -> Group:
    app = apps.from_request({"cmd": "sleep 1"} | body)
    at = apps.place(root, paths.absolute(app["id"]), SETTINGS)
    return changes.create_app(apps.define(apps.normalised(app, at), at, version=now), SETTINGS)(root, now)


BODIES = st.fixed_dictionaries(
    {"id": st.just("/g/a")},
    optional={
        "instances": st.integers(0, 5),
        "cpus": st.sampled_from([0, 0.5, 2]),
        "env": st.dictionaries(st.sampled_from(["A", "B"]), st.text(max_size=3)),
        "labels": st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=3)),
        "networks": st.sampled_from([[], [{"mode": "host"}], [{"mode": "container/bridge"}], [{"name": "n"}]]),
        "portDefinitions": st.sampled_from([[], [{"port": 0}], [{"port": 0, "name": "x"}, {"port": 81}]]),
        "constraints": st.sampled_from([[], [["a", "UNIQUE"]], [["a", "LIKE", "x"], ["b", "GROUP_BY", "3"]]]),
        "healthChecks": st.sampled_from([[], [{"protocol": "COMMAND", "command": {"value": "x"}}], [{"protocol": "MESOS_TCP", "port": 5}]]),
        "fetch": st.sampled_from([[], [{"uri": "http://h/x"}]]),
        "container": st.sampled_from(
            [{"type": "MESOS"}, {"docker": {"image": "x"}}, {"type": "MESOS", "portMappings": [{"containerPort": 1}]}]
        ),
        "upgradeStrategy": st.just({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}),
        "resourceLimits": st.just({"mem": "unlimited"}),
    },
)


@given(body=BODIES)
def test_a_whole_put_of_what_was_read_changes_nothing(body: dict[str, Any]) -> None:
    root = stored(EMPTY, body)
    app = tree.app(root, "/g/a")
    assert app is not None
    again = changes.replace_app("/g/a", apps.replacement(app, "/g/a"), SETTINGS)(root, LATER)
    assert tree.app(again, "/g/a") is app


@given(body=BODIES)
def test_an_empty_partial_put_changes_nothing_but_limits(body: dict[str, Any]) -> None:
    body.pop("resourceLimits", None)
    root = stored(EMPTY, body)
    again = changes.update_app("/g/a", {}, SETTINGS, lambda _id, _version: None)(root, LATER)
    assert tree.app(again, "/g/a") is tree.app(root, "/g/a")


@given(ids=st.lists(st.sampled_from(["/a", "/b", "/g/a", "/g/b", "/g/h/c"]), unique=True, min_size=1))
def test_service_ports_are_unique(ids: list[str]) -> None:
    root = EMPTY
    for app_id in ids:
        root = stored(root, {"id": app_id, "ports": [0, 0]})
    ports = [port for app in tree.all_apps(root).values() for port in service_ports.of_app(app)]
    assert len(set(ports)) == len(ports) == 2 * len(ids)
    assert all(SETTINGS.local_port_min <= port <= SETTINGS.local_port_max for port in ports)


def test_writing_one_app_leaves_the_others_as_they_are() -> None:
    root = stored(stored(EMPTY, {"id": "/g/a"}), {"id": "/h/b"})
    after = changes.update_app("/h/b", {"cpus": 7.0}, SETTINGS, lambda _id, _version: None)(root, LATER)
    assert tree.app(after, "/g/a") is tree.app(root, "/g/a")
    assert tree.app(after, "/h/b") != tree.app(root, "/h/b")
    assert {group.version for group in tree.walk(after)} == {LATER}


def test_deleting_keeps_empty_groups_and_posting_replaces_them() -> None:
    root = changes.delete_app("/g/h/a", SETTINGS)(stored(EMPTY, {"id": "/g/h/a"}), LATER)
    assert [group.id for group in tree.walk(root)] == ["/", "/g", "/g/h"]
    assert tree.app(stored(root, {"id": "/g/h"}), "/g/h") is not None
    full = stored(EMPTY, {"id": "/g/h/a"})
    with pytest.raises(ApiError) as error:
        stored(full, {"id": "/g/h"})
    assert error.value.body["details"] == [{"path": "/groups(0)", "errors": ["Groups and Applications may not have the same identifier."]}]


@pytest.mark.parametrize(
    ("links", "cyclic"),
    [
        ({"/a": ["/b"], "/b": ["/c"]}, False),
        ({"/a": ["/b", "/c"], "/b": ["/d"], "/c": ["/d"], "/d": []}, False),
        ({"/a": ["/b"], "/b": ["/c"], "/c": ["/a"]}, True),
        ({"/a": ["/nowhere"]}, False),
        ({"/g/a": ["/g"]}, True),
    ],
)
def test_cycles(links: dict[str, list[str]], *, cyclic: bool) -> None:
    root = EMPTY
    for app_id, dependencies in links.items():
        root = tree.put_app(root, {"id": app_id, "dependencies": dependencies}, NOW)
    if cyclic:
        with pytest.raises(ApiError, match="cyclic"):
            root_rules.check(root, root)
    else:
        root_rules.check(root, root)


def test_a_long_chain_of_dependencies_is_no_trouble() -> None:
    root = EMPTY
    chain = {f"/a{i}": {"id": f"/a{i}", "dependencies": [f"/a{i + 1}"]} for i in range(3000)}
    root = Group(id="/", version=NOW, apps=chain)
    root_rules.check(root, root)


def test_restart_is_a_new_configuration_of_the_same() -> None:
    root = stored(EMPTY, {"id": "/a"})
    after = tree.app(changes.restart_app("/a", SETTINGS)(root, LATER), "/a")
    before = tree.app(root, "/a")
    assert before is not None
    assert after is not None
    assert after["versionInfo"] == {"lastScalingAt": LATER, "lastConfigChangeAt": LATER}
    assert not versions.is_config_change(before, after)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000Z"),
        ("2020-01-01T01:00:00.123456+01:00", "2020-01-01T00:00:00.123Z"),
        ("2020-01-01T00:00:00", "2020-01-01T00:00:00.000Z"),
    ],
)
def test_timestamps(given: str, shown: str) -> None:
    assert timestamps.parse(given) == shown


@given(text=st.text(alphabet="ab!=in ()notin,\\.", max_size=12))
def test_selectors_are_read_or_refused(text: str) -> None:
    refused, matches_nothing_set = "", False
    try:
        matches_nothing_set = selectors.parse(text)({})
    except ApiError as error:
        refused = error.body["message"]
    # whatever can be read names at least one label, unless there is nothing to read
    assert refused.startswith("Can not parse label selector") or matches_nothing_set == (not text.strip())
