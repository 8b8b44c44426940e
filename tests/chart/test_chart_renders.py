"""Every set of values, and every option alone: valid objects, and no option without an effect."""

import pytest

from tests.chart.helm import CHART, RenderFailed, Values, helm, load, merged, render
from tests.chart.kubernetes import VERSIONS, validate
from tests.chart.objects import name_of
from tests.chart.value_sets import VALUE_SETS, context, options

BEFORE_THEIR_FILES = {"dashboards": CHART / "dashboards", "rules": CHART / "rules"}
"""Seams: they load what these folders hold, so they have nothing to show while there is no such folder."""

WITHOUT_EFFECT = {
    "global",  # Helm's
    "database.maxConnections",  # bounds: they refuse
    "database.reservedConnections",
    "database.otherConnections",
}

SWITCHES = {
    "metrics.podMonitor.enabled",
    "metrics.serviceMonitor.enabled",
    "metrics.annotations.enabled",
    "ingress.enabled",
    "httpRoute.enabled",
}
"""What is on in its own context: the other side is the same without it."""


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)
def test_objects_are_valid(values: Values) -> None:
    """In the oldest Kubernetes that is supported, and in the newest."""
    for version in VERSIONS:
        objects = render(values, kube_version=f"{version}.0")
        assert objects
        for thing in objects:
            validate(thing, version)


@pytest.mark.parametrize("path", options())
def test_each_option_alone_is_valid_and_does_something(path: str) -> None:
    """An option that changes no object would be a promise that nobody keeps."""
    base = context(path)
    switched = merged(base, options()[path])
    if path in SWITCHES:
        base = {"networkPolicy": base["networkPolicy"]}
    if path == "autoscaling.inFlight.enabled":
        base = {}
    if path in ("dashboards.enabled", "rules.enabled"):
        base, switched = {}, options()[path]
    before, after = render(base), render(switched)
    for thing in after:
        validate(thing, VERSIONS[0])
    group = path.split(".", 1)[0]
    if path in WITHOUT_EFFECT or (group in BEFORE_THEIR_FILES and not BEFORE_THEIR_FILES[group].exists()):
        assert before == after
    else:
        assert before != after


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)
def test_no_two_objects_are_the_same(values: Values) -> None:
    """Of two with one name, one would overwrite the other."""
    names = [name_of(thing) for thing in render(values)]
    assert len(names) == len(set(names))


def test_lint_finds_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`helm lint --strict`, where a warning is a failure."""
    values = tmp_path_factory.mktemp("lint") / "values.json"
    import json

    from tests.chart.helm import REQUIRED

    values.write_text(json.dumps(REQUIRED))
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, "--values", values)


def test_rendering_twice_gives_the_same() -> None:
    """Nothing random, no time: whatever watches the chart would see a change that is none."""
    import json

    from tests.chart.helm import REQUIRED

    values = json.dumps(merged(REQUIRED, VALUE_SETS["everything"]))
    first, second = (helm("template", "gantry", CHART, "--values", "-", stdin=values) for _ in range(2))
    assert first == second
    assert load(first)


def test_an_older_kubernetes_is_refused() -> None:
    """Native sidecars, the sleep action and metrics of a container are from 1.30."""
    with pytest.raises(RenderFailed, match=r"requires kubeVersion: >=1\.30\.0-0"):
        render(kube_version="1.29.9")
