"""Units mean what the SI brochure says: factors worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from prorl_verifiers.units import Dimension, parse_unit

LENGTH: Dimension = (1, 0, 0, 0, 0, 0, 0)
SPEED: Dimension = (1, 0, -1, 0, 0, 0, 0)
ENERGY: Dimension = (2, 1, -2, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "factor", "dimension"),
    [
        ("km", "1000", LENGTH),
        ("kilometers", "1000", LENGTH),
        ("centimetre", "1/100", LENGTH),
        ("nm", "1/1000000000", LENGTH),
        ("mi", "1609.344", LENGTH),
        ("feet", "0.3048", LENGTH),
        ("km/h", "5/18", SPEED),
        ("m s^-1", "1", SPEED),
        ("m·s⁻1", "1", SPEED),
        ("m/s", "1", SPEED),
        ("kWh", "3600000", ENERGY),
        ("kg m^2/s^2", "1", ENERGY),
        ("N*m", "1", ENERGY),
        ("meV", "1.602176634e-22", ENERGY),
        ("MeV", "1.602176634e-13", ENERGY),
        ("L", "1/1000", (3, 0, 0, 0, 0, 0, 0)),
        ("cm^3", "1/1000000", (3, 0, 0, 0, 0, 0, 0)),
        ("J/(mol K)", "1", (2, 1, -2, 0, -1, -1, 0)),
        ("min", "60", (0, 0, 1, 0, 0, 0, 0)),
        ("", "1", (0, 0, 0, 0, 0, 0, 0)),
        ("%", "1/100", (0, 0, 0, 0, 0, 0, 0)),
    ],
)
def test_a_unit_has_its_factor_and_dimension(text: str, factor: str, dimension: Dimension) -> None:
    unit = parse_unit(text)
    assert unit is not None
    assert (unit.factor, unit.dimension, unit.offset) == (Fraction(factor), dimension, Fraction(0))


@pytest.mark.parametrize("text", ["°C", "celsius", "degrees Celsius"])
def test_celsius_has_an_offset(text: str) -> None:
    unit = parse_unit(text)
    assert unit is not None
    assert unit.offset == Fraction("273.15")


@pytest.mark.parametrize("text", ["cats", "xyz", "5", "m^", "m^99", "or", "kk", "m;s", "__import__", "m" * 100])
def test_what_is_no_unit_is_refused(text: str) -> None:
    assert parse_unit(text) is None


@pytest.mark.parametrize(
    ("one", "other", "may_be_the_same"),
    [
        ("Hz", "s^-1", True),
        ("Hz", "rad/s", False),
        ("Hz", "Bq", False),
        ("kHz", "MHz", True),
        ("rpm", "rad/s", True),
        ("rev/min", "rpm", True),
        ("Gy", "Sv", False),
        ("Gy", "J/kg", True),
        ("Ci", "Bq", True),
        ("J/mol/K", "J/(mol K)", True),
        ("m/s/s", "m/s^2", True),
        ("MeV/c^2", "kg", True),
        ("MeV/c", "kg m/s", True),
        ("MeV/c^2", "MeV", False),
        ("D", "C m", True),
        ("D", "d", False),
    ],
)
def test_units_measure_the_same_or_not(one: str, other: str, may_be_the_same: bool) -> None:
    first, second = parse_unit(one), parse_unit(other)
    assert first is not None
    assert second is not None
    assert first.can_be(second) == second.can_be(first) == may_be_the_same


def test_a_turn_is_two_pi() -> None:
    rpm, turns, angular = parse_unit("rpm"), parse_unit("rev/min"), parse_unit("rad/s")
    assert rpm is not None
    assert turns is not None
    assert angular is not None
    assert rpm.factor == turns.factor
    assert float(rpm.factor / angular.factor) == pytest.approx(2 * 3.141592653589793 / 60)
