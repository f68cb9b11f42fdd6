"""Schemes: how a density is moved in time. What a case may name under [scheme]."""

from gridflow.scheme.finite_volume import FiniteVolume

SchemeSpec = FiniteVolume
