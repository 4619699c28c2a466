"""Request bodies for the engine, made from its own interface description: mostly of the right shape, now and then with something odd in."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from shuren.sandbox.definition import app_shape, groups, pod_shape, shape

Strategy = st.SearchStrategy[Any]

JUNK: Strategy = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 70_000),
        st.floats(allow_nan=False),
        st.sampled_from(["", "a", "/", "//", "..", "x/../y", "/a/b", "*", "中", "restart", "-", "a b", "\x00", "HTTP", "http://x/y"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["id", "cmd", "a", "", "image", "type"]), inner)),
    max_leaves=5,
)
_TEXTS = st.sampled_from(
    ["/a", "a", "b/c", "..", "/g", "x.y", "hostname", "rack", "UNIQUE", "LIKE", "GROUP_BY", "3", "http://x/y.tgz", "path"]
)
_MOMENTS = st.sampled_from(["2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000+01:00"])
_ODD = 300
"""One value in so many is junk."""


def of(what: shape.Shape, depth: int = 0) -> Strategy:
    """Values of a shape."""
    return st.integers(0, _ODD).flatmap(lambda draw: JUNK if draw == 0 else _sound(what, depth))


def _sound(what: shape.Shape, depth: int) -> Strategy:  # noqa: C901, PLR0912 - one case per kind of shape
    match what:
        case shape.Text():
            return _TEXTS if what.pattern is None else st.from_regex(what.pattern, fullmatch=True).filter(lambda text: len(text) < 40)
        case shape.Enum():
            return st.sampled_from(what.literals)
        case shape.Bool():
            return st.booleans()
        case shape.Int():
            low = what.minimum or 0
            return st.integers(low, max(low, min(what.maximum or 9, 9)))
        case shape.Double():
            low_share = what.minimum or 0.0
            return st.floats(low_share, what.maximum or low_share + 2)
        case shape.Timestamp():
            return _MOMENTS
        case shape.Items():
            return st.lists(of(what.of, depth + 1), max_size=3)
        case shape.MapOf():
            return st.dictionaries(st.sampled_from(["A", "b", "x/y"]), of(what.of, depth + 1), max_size=2)
        case shape.Obj():
            return _object(what, depth)
        case shape.AnyOf():
            return st.one_of([of(member, depth + 1) for member in what.shapes])
        case shape.Tagged():
            return st.one_of([_tagged(_sound(member, depth), what.key, kind) for kind, member in what.shapes.items()])
        case shape.Lenient():
            return of(what.of, depth + 1)
        case shape.Word():
            return st.just(what.value)
        case shape.Lazy():
            return st.just({}) if depth > 6 else st.deferred(lambda: of(what.shape(), depth + 3))
        case _:
            return JUNK


def _tagged(bodies: Strategy, key: str, kind: str) -> Strategy:
    return bodies.map(lambda body: body | {key: kind})


def _object(what: shape.Obj, depth: int) -> Strategy:
    needed = {field.name: of(field.shape, depth + 1) for field in what.fields if field.required}
    others = {field.name: of(field.shape, depth + 1) for field in what.fields if not field.required}
    if not others:
        return st.fixed_dictionaries(needed)
    chosen = st.lists(st.sampled_from(sorted(others)), max_size=4, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries(needed, optional={name: others[name] for name in names}))


_IDS = st.sampled_from(["/a", "b", "/g/a", "/g/h/b"])


def _runnable(drawn: tuple[Any, str]) -> Any:
    app, app_id = drawn
    return {"cmd": "sleep 5", **app, "id": app_id} if isinstance(app, dict) else app


APPS = st.tuples(of(app_shape.APP), _IDS).map(_runnable)
UPDATES = of(app_shape.APP_UPDATE)
GROUPS = of(groups.GROUP_UPDATE)
PODS = of(pod_shape.POD)
