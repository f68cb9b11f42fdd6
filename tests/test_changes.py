"""Changes of a case: a table that gets another kind keeps what fits it, whatever the order of the changes."""

from itertools import permutations

import msgspec
import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow.case.case import Case, load_case
from gridflow.case.changes import parse_setting
from gridflow.case.explain import structs_at
from gridflow.case.shipped import shipped_cases
from gridflow.errors import InputError
from gridflow.scheme.jko.scheme import JKO


def without_exact(table):
    return case_of({k: v for k, v in table.items() if k != "exact"})


def test_a_scheme_of_another_kind_has_its_own_defaults():
    case = without_exact(QUADRATIC).replace({"scheme.kind": "jko", "scheme.tau": 0.1})
    assert case.scheme == JKO(tau=0.1)  # and not accuracy = 1.0, the default of finite volumes
    assert case.replace({"scheme.kind": "finite-volume"}).scheme == without_exact(QUADRATIC).scheme
    with pytest.raises(InputError, match="scheme lacks the key 'tau'"):
        without_exact(QUADRATIC).replace({"scheme.kind": "jko"})


def test_what_the_new_kind_has_too_is_kept():
    case = without_exact(QUADRATIC).replace({"scheme.accuracy": 0.25, "scheme.order": 1})
    assert case.replace({"scheme.kind": "jko", "scheme.tau": 0.1}).scheme == JKO(tau=0.1, accuracy=0.25)
    circle = case.replace({"space.theta.kind": "circle", "space.theta.units": "m"}).space["theta"]
    assert (circle.cells, circle.units) == (64, "m")
    assert without_exact(QUADRATIC).replace({"scheme.order": 1, "scheme.kind": "finite-volume"}).scheme.order == 1


@pytest.mark.parametrize("order", [*permutations(["scheme.kind=jko", "scheme.tau=0.1", "scheme.sweeps=3"])], ids=" ".join)
def test_the_order_of_settings_does_not_matter(order):
    case = without_exact(ORNSTEIN_UHLENBECK).replace(dict(map(parse_setting, order)))
    assert case.scheme == JKO(tau=0.1, sweeps=3)


def test_a_whole_table_comes_before_its_parts():
    changes = {"scheme.tau": 0.1, "scheme.kind": "jko", "scheme": {"kind": "jko", "tau": 1.0, "sweeps": 3}}
    assert without_exact(QUADRATIC).replace(changes).scheme == JKO(tau=0.1, sweeps=3)


def test_changes_stay_as_they_are():
    """A table that is written once and shared by several cases is the same for each of them."""
    shared = {"scheme": {"kind": "jko", "tau": 1.0, "sweeps": 3}}
    without_exact(QUADRATIC).replace({**shared, "scheme.tau": 0.1})
    assert without_exact(QUADRATIC).replace(shared).scheme == JKO(tau=1.0, sweeps=3)


def test_a_table_that_is_missing_can_be_set_by_its_keys():
    case = without_exact(QUADRATIC).replace({"particles.integrator.step": 0.1, "particles.integrator.kind": "rk2",
                                             "particles.counts": [8, 16, 64]})  # fmt: skip
    assert case.particles.integrator.step == 0.1


def test_a_word_that_is_no_kind_is_explained():
    with pytest.raises(InputError, match=r"(?s)scheme.kind = 'jok'.*did you mean 'jko'"):
        without_exact(QUADRATIC).replace({"scheme.kind": "jok"})
    with pytest.raises(InputError, match="unknown key 'kind' in time"):
        without_exact(QUADRATIC).replace({"time.kind": "jko"})


def places(value, keys=()):
    """Keys of every table with a kind."""
    if isinstance(value, dict):
        if "kind" in value:
            yield keys
        for key, entry in value.items():
            yield from places(entry, (*keys, key))
    if isinstance(value, list):
        for number, entry in enumerate(value):
            yield from places(entry, (*keys, number))


def other_kinds(keys, table):
    """Tags of all types that may stand at a place."""
    without = msgspec.json.decode(msgspec.json.encode(table))
    node = without
    for key in keys:
        node = node[key]
    del node["kind"]
    return [s.__struct_config__.tag for s in structs_at(list(keys), without, Case) if s.__struct_config__.tag is not None]


def complaint(case, key, value):
    """What a change is refused with, if it is."""
    try:
        case.replace({key: value})
    except InputError as error:
        return str(error)
    return ""


def test_no_kind_of_any_table_trips_over_the_keys_of_another():
    """Every table with a kind of every shipped case, and every kind that it may have: what is missing or wrong is named, but a
    key that nobody wrote is never called unknown."""
    tried = set()
    for name in shipped_cases():
        case = load_case(name)
        table = msgspec.to_builtins(case)
        for keys in places(table):
            old = structs_at(list(keys), table, Case)[0].__struct_config__.tag
            for kind in other_kinds(keys, table):
                what = (keys[0], keys[-1] if isinstance(keys[-1], str) else "", old, kind)
                if what in tried:
                    continue
                tried.add(what)
                assert "unknown key" not in complaint(case, ".".join(map(str, (*keys, "kind"))), kind), (name, keys, kind)
    assert {what[0] for what in tried} >= {"space", "energy", "initial", "scheme", "exact", "particles"}
    assert len(tried) > 100
