"""The equation that a case solves, in MathML, which browsers draw without help."""

from typing import Any

ENERGIES = {
    "potential": r"E[\rho] = \int V \, d\rho",
    "target": r"E[\rho] = -\int \log \pi \, d\rho",
    "internal": r"E[\rho] = \int U(\rho) \, dx",
    "interaction": r"E[\rho] = \frac{1}{2} \iint W(x, y) \, d\rho(x) \, d\rho(y)",
    "mmd": r"E[\rho] = \frac{1}{2} \iint k(x, y) \, d(\rho - \pi)(x) \, d(\rho - \pi)(y)",
    "sobolev": r"E[\rho] = \frac{1}{2} \| \rho - \pi \|_{H^{-1}}^2",
    "network": r"E[\rho] = \sum_i w_i \, \ell\left( \int \phi(x_i; \theta) \, d\rho(\theta), y_i \right)",
    "resnet": r"E[\rho] = \sum_i w_i \, \ell\left( f_\rho(x_i), y_i \right)",
    "sum": r"E[\rho] = \sum_k E_k[\rho]",
}
"""By the kind of an energy; of others, the page says E[ρ]."""


def equation(table: dict[str, Any]) -> list[str]:
    """The flow and its energy in MathML, from the tables of a case."""
    from latex2mathml.converter import convert

    return [convert(text, display="block") for text in (flow_latex(table), energy_latex(table))]


def energy_latex(table: dict[str, Any]) -> str:
    """The energy in LaTeX."""
    kind = str(table.get("energy", {}).get("kind", ""))
    return next((text for name, text in ENERGIES.items() if kind == name or kind.endswith(name)), r"E[\rho]")


def flow_latex(table: dict[str, Any]) -> str:
    """The equation of the density in LaTeX: transport by the first variation ξ, and the terms of [flow]."""
    flow = table.get("flow", {})
    mobility = r" M" if flow.get("mobility") else ""
    terms = [rf"\nabla \cdot \left( \rho{mobility} \nabla \xi \right)"]
    if flow.get("temperature"):
        terms.append(r"D \, \Delta \rho")
    terms += [r"D_k \, \partial_k^2 \rho"] if flow.get("diffusion") else []
    if flow.get("reaction", {}).get("rate"):
        terms.append(r"- \kappa \, (\xi - \bar\xi) \rho")
    return r"\partial_t \rho = " + " + ".join(terms).replace("+ -", "-") + r", \qquad \xi = \frac{\delta E}{\delta \rho}"
