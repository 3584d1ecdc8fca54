"""Our Student's t against SciPy's."""

import pytest
from scipy.special import stdtr, stdtrit

from report import student

DEGREES = [1, 1.7, 2, 3, 4.4, 8, 30, 99.5, 1000, 1e5]


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize("t", [-40, -6.5, -2.3, -1, -0.01, 0, 0.01, 1, 2.3, 6.5, 40])
def test_cdf_is_scipys(t, df):
    assert student.cdf(t, df) == pytest.approx(float(stdtr(df, t)), rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize("p", [0.005, 0.025, 0.3, 0.5, 0.6, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9995])
def test_quantile_is_scipys(p, df):
    assert student.quantile(p, df) == pytest.approx(float(stdtrit(df, p)), rel=1e-9, abs=1e-12)
