"""checkov finds nothing insecure in the image and the chart but what is kept for a written reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers.reading import EXAMPLE, render
from tests.infra.test_checkov import findings, kept

pytestmark = [pytest.mark.aws, pytest.mark.timeout(300)]
CONTAINERS = Path(__file__).parents[2] / "infra/containers"


def test_findings_are_exactly_those_that_are_kept_for_a_reason(tmp_path: Path) -> None:
    done = render(EXAMPLE)
    assert done.returncode == 0, done.stderr
    (tmp_path / "chart.yaml").write_text(done.stdout)
    image, image_summary = findings(CONTAINERS, framework="dockerfile")
    chart, chart_summary = findings(tmp_path, framework="kubernetes")
    assert (image_summary["passed"] > 50, chart_summary["passed"] > 100) == (True, True)
    assert sorted(image | chart) == sorted(kept(CONTAINERS))
