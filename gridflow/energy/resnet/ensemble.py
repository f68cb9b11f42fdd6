"""The ensemble-ResNet (S3 §3.1): a mean of residual networks with independent parameters θ = (θ^0, …, θ^{L−1}) ∈ Θ^L.

    X^0 = x,    X^{ℓ+1} = X^ℓ + σ(θ^ℓ X^ℓ)/L,    f(x) = ∫X^L_θ(x) dρ,    ξ(θ) = Σ_j r_j·X^L_θ(x_j),    r_j = μ_j ∂ℓ/∂f_j

The feature X^L_θ does not factorise over Θ^L; f is linear in ρ, so that E is convex. On a grid features are stored while they fit
the memory budget of networks, and recomputed beyond it block by block, `gridflow.energy.network.features` (NumPy's vectorised
tanh takes a tenth of the time of a compiled loop over scalars). The gradient at particles takes the adjoint pass

    q^L = r,    q^ℓ = q^{ℓ+1} + (1/L) θ^{ℓT}(σ'∘q^{ℓ+1}),    ∂ξ/∂θ^ℓ_km = (1/L) Σ_j q^{ℓ+1}_k σ'_k X^ℓ_m.
"""

import numpy as np

from gridflow.energy.network.activation import Jet
from gridflow.energy.network.features import row_blocks
from gridflow.energy.resnet.layers import BLOCK_ENTRIES
from gridflow.space.factor import Array


def ensemble_pass(jet: Jet, theta: Array, inputs: Array) -> tuple[list[Array], list[Array]]:
    """X^0 … X^L and σ'(θ^ℓX^ℓ) for every layer, (n, d, n_data) each, from parameters (n, L, d, d) and inputs (d, n_data)."""
    n, n_layers, dim, _ = theta.shape
    states, slopes = [np.broadcast_to(inputs, (n, *inputs.shape))], []
    for layer in range(n_layers):
        x = states[-1]
        # a sum over few inputs: matrix products of d × d matrices one by one cost more than their arithmetic
        z = sum(theta[:, layer, :, m, None] * x[:, m, None, :] for m in range(dim))
        value, slope = jet(np.asarray(z))
        states.append(x + value / n_layers)
        slopes.append(slope)
    return states, slopes


def ensemble_gradient(theta: Array, states: list[Array], slopes: list[Array], residual: Array) -> Array:
    """∂ξ/∂θ, (n, L, d, d), from the forward pass and r (d, n_data)."""
    n_layers = theta.shape[1]
    gradient = np.empty(theta.shape)
    adjoint = np.broadcast_to(residual, states[-1].shape)
    for layer in range(n_layers - 1, -1, -1):
        turned = adjoint * slopes[layer] / n_layers
        gradient[:, layer] = turned @ states[layer].swapaxes(1, 2)
        adjoint = adjoint + theta[:, layer].swapaxes(1, 2) @ turned
    return gradient


def ensemble_features(jet: Jet, theta: Array, inputs: Array) -> Array:
    """X^L, (n, d, n_data)."""
    found = np.empty((len(theta), *inputs.shape))
    for block in row_blocks(len(theta), inputs.size, BLOCK_ENTRIES):
        found[block] = ensemble_pass(jet, theta[block], inputs)[0][-1]
    return found


def ensemble_output(jet: Jet, theta: Array, weights: Array, inputs: Array) -> Array:
    """Σ_i w_i X^L_{θ_i}, (d, n_data)."""
    total = np.zeros(inputs.shape)
    for block in row_blocks(len(theta), inputs.size, BLOCK_ENTRIES):
        total += np.tensordot(weights[block], ensemble_pass(jet, theta[block], inputs)[0][-1], axes=1)
    return total
