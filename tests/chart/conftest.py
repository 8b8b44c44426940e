"""Tests whose parameter is `objects` get those of every set of values."""

import pytest

from tests.chart.helm import Object, render
from tests.chart.value_sets import VALUE_SETS


@pytest.fixture(params=VALUE_SETS.values(), ids=list(VALUE_SETS))
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """All objects of one set of values."""
    return render(request.param)
