from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from l4gm.evaluation.findings import Claim, Curve, Findings, judge
from l4gm.evaluation.statistics import Interval, mean_interval, share_interval, sign_test


@pytest.mark.parametrize("count", [2, 3, 12, 31, 200])
def test_mean_interval_is_student(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    found = mean_interval(values.tolist())
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert found.value == pytest.approx(values.mean())
    width = high - low
    assert found.low == pytest.approx(low, abs=0.02 * width)
    assert found.high == pytest.approx(high, abs=0.02 * width)


def test_one_value_says_nothing_about_spread() -> None:
    assert mean_interval([3.0]) == Interval(3.0, -math.inf, math.inf)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


@pytest.mark.parametrize(("successes", "total"), [(0, 5), (7, 10), (10, 10), (120, 200)])
def test_share_interval_is_wilsons(successes: int, total: int) -> None:
    found = share_interval(successes, total)
    expected = stats.binomtest(successes, total).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 9), (50, 50), (70, 50)])
def test_sign_test_is_the_binomial_test(first: int, second: int) -> None:
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert sign_test(first, second) == pytest.approx(expected)


def test_verdicts_follow_the_interval() -> None:
    def verdict(better: list[float], worse: list[float], margin: float = 0.0) -> str:
        return judge("claim", "measure", better, worse, margin=margin).verdict

    assert verdict([20.0, 20.1, 19.9], [18.0, 18.2, 17.9]) == "agrees"
    assert verdict([18.0, 18.2, 17.9], [20.0, 20.1, 19.9]) == "differs"
    assert verdict([20.0, 18.0], [19.0, 19.0]) == "undecided"
    assert verdict([20.0], [10.0]) == "undecided"  # one seed proves nothing
    assert verdict([19.9, 19.8, 19.9], [20.0, 20.0, 20.0], margin=-1.0) == "agrees"


def test_findings_survive_json() -> None:
    curve = Curve("with", "psnr", (10.0, 20.0), ((1.0, 2.0), (3.0, 4.0)))
    claim = Claim("says", "difference", Interval(1.0, 0.5, 1.5), "agrees")
    one_seed = judge("says", "difference", [2.0], [1.0])
    claims = (claim, one_seed)
    findings = Findings("temporal", "title", "setup", "steps", "seeds", (curve,), claims)
    text = json.dumps(findings.to_dict(), allow_nan=False)
    assert Findings.from_dict(json.loads(text)) == findings
    assert curve.last() == (2.0, 4.0)
    assert curve.point(0).value == 2.0
