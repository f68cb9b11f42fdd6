"""Layers of residual networks: sums over their neurons, and the forward and adjoint passes of S3 §3.

A neuron is a matrix θ ∈ R^{d×d}; σ acts entry by entry, so that row k of θ alone makes component k of σ(θX). For neurons with
weights w and inputs X (d, n_data) everything is made of the sums, row by row,

    S_k = Σ_i w_i σ(θ_ik·X),    J_km = Σ_i w_i σ'(θ_ik·X) θ_ikm,

S = ∫σ(θX) and J = ∂_X∫σ(θX) = ∫∇σ(θX)θ with respect to the measure w. With w^ℓ of total 1/L, the masses of layer ℓ:

* wide (S3 (7), (8)):   X^{ℓ+1} = X^ℓ + S^ℓ(X^ℓ),    p^L = r,    p^ℓ = p^{ℓ+1} + J^ℓ(X^ℓ)ᵀ p^{ℓ+1},
                        ξ(θ, ℓ) = Σ_j p_j^{ℓ+1}·σ(θX_j^ℓ)
* linear (S3 (10)):     f = x + Σ_a S_a,    ξ(θ) = Σ_j r_j·σ(θx_j)
* quadratic (S3 §3.2):  f = x + Σ_a S_a + Σ_b J_b T_b,    T_b = Σ_{a<b} S_a + h S_b,    R_a = Σ_{b>a} J_b + h J_a,
                        ξ(θ, a) = Σ_j [((I + R_aᵀ) r_j)·σ(θx_j) + r_j·∇σ(θx_j)θ T_a]

with r_j = μ_j ∂ℓ/∂f_j, and all sums at x in the last two. The integral over ε' > ε has no diagonal for finitely many layers
(h = 0). A density on cells of a continuous depth is uniform inside each of them, where half of the pairs are ordered (h = ½).
"""

import numpy as np

from gridflow.energy.network.activation import Jet
from gridflow.energy.network.features import row_blocks
from gridflow.space.factor import Array

BLOCK_ENTRIES = 2**14
"""Entries of a block of features: 128 KiB, so that they stay in the cache and in memory that the process has already. To compute
them anew in the adjoint pass takes less time than fresh memory to keep them."""
KEPT_BYTES = 2**28
"""Features of inputs that stay the same are kept up to this size."""


class RowFeatures:
    """σ and σ' of one row of many neurons, directions (n, d), at inputs (d, n_data), in blocks of neurons.

    keep : they are used more than twice, and kept while they fit the memory budget
    """

    def __init__(self, jet: Jet, directions: Array, inputs: Array, keep: bool = False) -> None:
        self.jet, self.directions, self.inputs = jet, directions, inputs
        self.blocks = row_blocks(len(directions), inputs.shape[1], BLOCK_ENTRIES)
        self.kept: dict[int, tuple[Array, Array]] | None = None
        if keep and 16 * len(directions) * inputs.shape[1] <= KEPT_BYTES:
            self.kept = {block.start: self.compute(block) for block in self.blocks}

    def at(self, block: slice) -> tuple[Array, Array]:
        """(σ, σ') of a block, (n_block, n_data) each."""
        return self.compute(block) if self.kept is None else self.kept[block.start]

    def compute(self, block: slice) -> tuple[Array, Array]:
        b, x = self.directions[block], self.inputs
        return self.jet(b * x if len(x) == 1 else b @ x)  # broadcasting: four times faster than a product of rank 1

    def sums(self, weights: Array) -> tuple[Array, Array]:
        """S_k and J_k for several weights, (n_groups, n) → (n_groups, n_data), (n_groups, d, n_data)."""
        dim, n_data = self.inputs.shape
        total, slopes = np.zeros((len(weights), n_data)), np.zeros((len(weights), dim, n_data))
        for block in self.blocks:
            value, slope = self.at(block)
            total += weights[:, block] @ value
            for m in range(dim):
                slopes[:, m] += (weights[:, block] * self.directions[block, m]) @ slope
        return total, slopes

    def pull_back(self, pulled: Array) -> Array:
        """Σ_j p_j σ(b·x_j), (n_groups, n_data) → (n_groups, n)."""
        return np.concatenate([pulled @ self.at(block)[0].T for block in self.blocks], axis=1)

    def pull_back_slopes(self, turned: Array) -> Array:
        """Σ_j σ'(b·x_j) b·t_j, (n_groups, d, n_data) → (n_groups, n)."""
        found = []
        for block in self.blocks:
            slope = self.at(block)[1]
            found.append(sum((turned[:, m] @ slope.T) * self.directions[block, m] for m in range(turned.shape[1])))
        return np.concatenate(found, axis=1)

    def gradient(self, pulled: Array) -> Array:
        """∂_b Σ_j p_j σ(b·x_j), (n_data,) → (n, d)."""
        return np.concatenate([self.at(block)[1] @ (pulled * self.inputs).T for block in self.blocks])

    def largest(self) -> Array:
        """max |σ| over the neurons, (n_data,)."""
        return np.max([np.abs(self.at(block)[0]).max(axis=0) for block in self.blocks], axis=0)


Row = tuple[Array, Array]
"""Directions (n, d) and weights (n,) of one row of the neurons of one layer."""


class WidePass:
    """The wide ResNet at layers of neurons: states, Jacobians and features of the forward pass.

    layers : for every layer d rows; inputs : (d, n_data)
    """

    def __init__(self, jet: Jet, layers: list[list[Row]], inputs: Array) -> None:
        self.features: list[list[RowFeatures]] = []
        self.jacobians: list[Array] = []
        state = inputs
        for rows in layers:
            features = [RowFeatures(jet, directions, state) for directions, _ in rows]
            sums = [f.sums(weights[None]) for f, (_, weights) in zip(features, rows, strict=True)]
            self.features.append(features)
            self.jacobians.append(np.stack([slopes[0] for _, slopes in sums]))
            state = state + np.stack([total[0] for total, _ in sums])
        self.output = state

    def adjoints(self, residual: Array) -> list[Array]:
        """p^{ℓ+1} for every layer ℓ, (d, n_data) each, from r = p^L."""
        found = [residual]
        for jacobian in self.jacobians[:0:-1]:
            found.append(found[-1] + np.einsum("kmj,kj->mj", jacobian, found[-1]))
        return found[::-1]


class QuadraticPass:
    """The quadratic approximation from the sums S (n_depth, d, n_data) and J (n_depth, d, d, n_data) over each depth, increasing.

    before : T (n_depth, d, n_data); after : R (n_depth, d, d, n_data); diagonal : h
    """

    def __init__(self, total: Array, slopes: Array, inputs: Array, diagonal: float) -> None:
        self.before = np.cumsum(total, axis=0) - (1 - diagonal) * total
        self.after = np.cumsum(slopes[::-1], axis=0)[::-1] - (1 - diagonal) * slopes
        self.output = inputs + total.sum(axis=0) + np.einsum("akmj,amj->kj", slopes, self.before)

    def adjoints(self, residual: Array) -> Array:
        """(I + R_aᵀ) r, (n_depth, d, n_data)."""
        return residual + np.einsum("akmj,kj->amj", self.after, residual)
