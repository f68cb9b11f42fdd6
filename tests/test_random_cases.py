"""Random valid cases keep what is promised for every case; `python -m validation.faults.random_cases --full` draws a thousand."""

from typing import get_args

import pytest

from gridflow.energy.interaction.space import NamedKernel
from gridflow.energy.internal import LawSpec
from gridflow.energy.sum import EnergySpec
from gridflow.particles.integrator import IntegratorSpec
from gridflow.scheme.specs import SchemeSpec
from gridflow.space.densities import DensitySpec
from gridflow.space.specs import FactorSpec
from validation.faults.random_cases.__main__ import main
from validation.faults.random_cases.energies import ENERGIES, KERNELS, LAWS
from validation.faults.random_cases.parts import DENSITIES, FACTORS, INTEGRATORS, SCHEMES

REGISTRIES = [
    (FactorSpec, FACTORS),
    (DensitySpec, DENSITIES),
    (EnergySpec, ENERGIES),
    (NamedKernel, KERNELS),
    (LawSpec, LAWS),
    (SchemeSpec, SCHEMES),
    (IntegratorSpec, INTEGRATORS),
]


@pytest.mark.parametrize(("registry", "strategies"), REGISTRIES, ids=[str(k) for k in range(len(REGISTRIES))])
def test_every_entry_of_a_registry_is_drawn(registry, strategies):
    assert {kind.__struct_config__.tag for kind in get_args(registry)} == set(strategies)


def test_random_cases_keep_their_invariants(capsys):
    """The same cases in every run of the same code: the seed is fixed, and they are drawn in a process of their own."""
    code = main(["--count", "12"])
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "12 cases, 0 violations" in printed
    refused = sum(int(line.split()[0]) for line in printed.splitlines() if "InputError" in line)
    assert refused <= 3, printed
