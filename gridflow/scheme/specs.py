"""Schemes: how a density is moved in time. What a case may name under [scheme]."""

from gridflow.scheme.exact_jko import ExactWasserstein
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.scheme.jko.scheme import JKO

SchemeSpec = FiniteVolume | JKO | ExactWasserstein
