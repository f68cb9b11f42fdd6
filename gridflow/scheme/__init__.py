"""Schemes: how a density is moved in time. What a case may name under [scheme]."""

from gridflow.scheme.finite_volume import FiniteVolume
from gridflow.scheme.jko import JKO
from gridflow.scheme.wasserstein import ExactWasserstein

SchemeSpec = FiniteVolume | JKO | ExactWasserstein
