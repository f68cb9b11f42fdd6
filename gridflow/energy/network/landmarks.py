"""Teachers of two-layer networks as landmarks: where in the student's space their neurons and densities lie.

A student ∫u·σ(b·x)dρ of a teacher Σ wᵢ σ(cᵢ·x) has mass at b = cᵢ with u of the sign of wᵢ. How much u is there, its mass
decides. Where σ is positively homogeneous and u is trained, b may be any positive multiple of cᵢ.
"""

import numpy as np

from gridflow.energy.network.activation import ACTIVATIONS
from gridflow.energy.network.branch import Branch
from gridflow.energy.network.teacher import Neuron, TeacherData
from gridflow.energy.table import Landmark
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mesh import unit


def teacher_landmarks(
    teacher: TeacherData, branches: list[Branch], activation: str, normalized: bool, grid: Grid
) -> list[Landmark]:
    """The teacher in the student's space; nothing where its neurons are none of the student's, as with another activation."""
    branch = branches[0]
    if len(branches) > 1 or len(branch.outputs) > 1 or teacher.activation not in (None, activation):
        return []
    factors = [f for f in grid.factors if f.name in branch.weights]
    if len(factors) != len(branch.weights):  # components of a surface
        return []
    ordered = sorted(factors, key=lambda f: branch.weights.index(f.name))
    found = [density_landmark(teacher, ordered)] if teacher.densities and branch.outputs == [[]] else []
    if activation == "identity":
        return mean_landmark(teacher, branch, ordered)
    if teacher.neurons:
        rescaled = branch.outputs != [[]] and is_homogeneous(activation)
        found.append(
            neuron_landmark(teacher.neurons, branch, ordered, activation, rescaled or teacher.normalization != normalized)
        )
    return [landmark for landmark in found if landmark is not None]


def mean_landmark(teacher: TeacherData, branch: Branch, factors: list[Factor]) -> list[Landmark]:
    """All that a linear student with fixed output weights sees: the mean of its weights, which that of the teacher is."""
    if branch.outputs != [[]] or any(f.components > 1 for f in factors):
        return []
    points, weights = teacher.as_neurons()
    mean = weights[:, 0] @ points / branch.scale
    return [Landmark("mean of the teacher", {f.name: mean[k : k + 1] for k, f in enumerate(factors)})]


def neuron_landmark(neurons: list[Neuron], branch: Branch, factors: list[Factor], activation: str, rays: bool) -> Landmark | None:
    """Neurons with one output as points; rays : of any length."""
    directions = np.array([n.direction for n in neurons])
    weights = np.array([np.sum(n.weight) for n in neurons]) / branch.scale
    outputs = branch.outputs[0]
    if not outputs and (weights < 0).any():  # u > 0 is fixed: −σ(c·x) is a neuron of the student only where σ is odd
        if not is_odd(activation):
            return None
        directions = directions * np.sign(weights)[:, None]
    signs = {outputs[0]: np.sign(weights)} if len(outputs) == 1 else {}
    if len(factors) == 1 and factors[0].components > 1:
        return Landmark("teacher neuron", {factors[0].name: positions(directions, factors[0])}, signs)
    if len(factors) == 1 and rays:  # on a line every point of one sign is a multiple of the others
        return None
    padded = np.hstack([directions, np.zeros((len(neurons), len(factors) - directions.shape[1]))])  # no bias
    points = {f.name: padded[:, k] for k, f in enumerate(factors)}
    return Landmark("teacher neuron", points, signs, rays=rays)


def is_homogeneous(activation: str) -> bool:
    """Whether σ(sz) = sσ(z) for s > 0."""
    z, value = np.array([-1.1, 0.3]), ACTIVATIONS[activation].value
    return bool(np.allclose(value(3 * z), 3 * value(z)))


def is_odd(activation: str) -> bool:
    """Whether σ(−z) = −σ(z)."""
    z, value = np.array([0.3, 1.7]), ACTIVATIONS[activation].value
    return bool(np.allclose(value(-z), -value(z)))


def positions(directions: Array, factor: Factor) -> Array:
    """Directions as unit vectors of a surface, (n, 3), or as coordinates of a circle, (n,), to half a cell."""
    if factor.columns > 1:
        return unit(directions)
    cells = unit(factor.embed(factor.points))
    return factor.points[(unit(directions) @ cells.T).argmax(axis=1)]


def density_landmark(teacher: TeacherData, factors: list[Factor]) -> Landmark | None:
    """The densities of a teacher as one; None for weights that are no shares, and for curved factors."""
    weights = [float(np.sum(d.weight)) for d in teacher.densities]
    if min(weights) <= 0 or any(f.components > 1 for f in factors) or len(factors) != len(teacher.densities[0].density):
        return None
    total = np.zeros([f.size for f in factors])
    for weight, component in zip(weights, teacher.densities, strict=True):
        masses = np.array(weight)
        for density, factor in zip(component.density, factors, strict=True):
            masses = np.multiply.outer(masses, density.masses(factor))
        total += masses
    return Landmark("teacher", over=tuple(f.name for f in factors), masses=total)
