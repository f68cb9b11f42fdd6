"""The strategy `trials`: a random valid case, and what is done with it beside solving it."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from validation.faults.random_cases.energies import ENERGIES, Model
from validation.faults.random_cases.parts import INTEGRATORS, LINES, SCHEMES, Draw, Table, mixture, number, rarely, scale, weights

MOST_STEPS = 60


@dataclass(frozen=True)
class Trial:
    """A case as tables, and one more test of it.

    twice : "nothing", "threads" (again with two of them), "resume" (interrupted at a share of its steps), "particles", or
    "mirrored" (the initial density the other way round)
    """

    table: Table
    twice: str
    share: float

    def __repr__(self) -> str:
        import tomli_w

        return f"# then: {self.twice}, at {self.share} of the steps\n{tomli_w.dumps(self.table)}"


def parts_of(energy: Table) -> list[Table]:
    """The parts of an energy."""
    return energy.get("parts", [energy])


def laws_of(energy: Table) -> list[str]:
    """Kinds of the laws of internal energies among the parts."""
    return [part["law"]["kind"] for part in parts_of(energy) if part["kind"] == "internal"]


def flow_of(draw: Draw, model: Model) -> Table:
    """Terms of a flow that the energy admits."""
    space, kinds = model.space, [part["kind"] for part in parts_of(model.energy)]
    driven = model.energy.get("flow") == "transport"
    frozen: Table = {model.frozen: {"value": 0.0}} if model.frozen else {}
    flow: Table = {"mobility": frozen} if frozen else {}
    if draw(st.booleans()):
        flow["temperature"] = draw(scale(-6.0, 1.0))
    if not driven and "congestion" not in laws_of(model.energy) and draw(rarely):
        conserve = model.evenly is not None or draw(st.booleans())
        flow["reaction"] = {"rate": draw(scale(-2.0, 1.0)), "conserve": conserve, "entropy": draw(st.booleans())}
    lines = [name for name, f in space.items() if f["kind"] in LINES]
    if lines and "congestion" not in laws_of(model.energy) and draw(rarely):
        flow["diffusion"] = {draw(st.sampled_from(lines)): draw(scale(-3.0, 0.0))}
    gaussian = kinds == ["mmd"] and model.energy["kernel"].get("kind") == "gaussian"
    if gaussian and "reaction" not in flow and draw(st.booleans()):
        schedule = draw(st.sampled_from(["constant", "decaying", "adaptive"]))
        flow["noise_injection"] = {"level": draw(scale(-1.5, 0.0)), "schedule": schedule}
    if "sobolev" not in kinds and draw(rarely):
        name, signs = draw(st.sampled_from(sorted(space))), [n for n, f in space.items() if f["kind"] == "labels"]
        table: Table = {"value": draw(st.sampled_from([0.5, 3.0, 0.0]))}
        if signs and name not in signs and draw(st.booleans()):
            table |= {"factor": signs[0], "power": 2.0}
        flow["mobility"] = {name: table} | frozen
    return flow


def scheme_of(draw: Draw, model: Model, flow: Table, stop: float) -> Table:
    """A scheme that does the problem."""
    kinds = [part["kind"] for part in parts_of(model.energy)]
    laws = laws_of(model.energy)
    allowed = ["finite-volume", "finite-volume", "jko", "exact-wasserstein"]
    reaction = flow.get("reaction")
    if "diffusion" in flow or "noise_injection" in flow or model.energy.get("flow") == "transport":
        allowed = ["finite-volume"]
    if reaction is not None and (reaction["conserve"] or "temperature" in flow or laws):
        allowed = ["finite-volume"]
    surfaces = any(f["kind"] in ("sphere", "ellipsoid") for f in model.space.values())
    convex = not {"interaction", "resnet"} & set(kinds)
    if reaction is not None or "temperature" in flow or surfaces or not convex or "mobility" in flow:
        allowed = [name for name in allowed if name != "exact-wasserstein"]
    if "congestion" in laws:
        allowed = ["jko"]
    table = SCHEMES[draw(st.sampled_from(allowed))](draw, stop)
    if table["kind"] == "jko" and reaction is not None:
        table.pop("accuracy", None)
        table.pop("algorithm", None)
        table["bias"] = "compensate"
    if table["kind"] == "jko" and laws:
        table.pop("algorithm", None)
    if table["kind"] == "jko" and not any(f["kind"] in LINES for f in model.space.values()):
        table.pop("accuracy", None)
    if table["kind"] == "finite-volume":
        moving = [f["kind"] for f in model.space.values() if f["kind"] != "labels"]
        fitted = table["diffusion"] == "scharfetter-gummel" and "temperature" in flow
        table["sliding"] &= len(moving) > 1 and set(moving) <= set(LINES) and table["order"] == 2 and not fitted
        table["sliding"] &= "mobility" not in flow
    return table


def is_symmetric(model: Model) -> bool:
    """Whether the energy and the cells of the only factor look the same from both sides."""
    (factor, *others), kind = model.space.values(), model.energy["kind"]
    return (
        not others
        and factor["kind"] in ("interval", "circle")
        and "grading" not in factor
        and (kind == "internal" or (kind == "interaction" and model.energy["kernel"]["kind"] != "polynomial"))
    )


@st.composite
def trials(draw: Draw) -> Trial:
    """A random valid case, and one more test of it."""
    model = ENERGIES[draw(st.sampled_from(sorted(ENERGIES)))](draw)
    flow, stop = flow_of(draw, model), draw(scale(-3.0, 2.0))
    initial = mixture(draw, model.space)
    for component in initial if model.evenly else []:
        component["density"][model.evenly] = {"kind": "uniform"}
    table: dict[str, Any] = {
        "title": "a random case",
        "space": model.space,
        "energy": model.energy,
        "initial": initial,
        "flow": flow,
        "scheme": scheme_of(draw, model, flow, stop),
        "time": {"stop": stop, "save": draw(st.integers(2, 4)), "max_steps": MOST_STEPS},
    }
    twice = draw(st.sampled_from(["nothing", "threads", "resume", "particles", *(["mirrored"] * is_symmetric(model))]))
    if twice == "mirrored":
        table["initial"] = [{"density": {"x": weights(draw, model.space["x"])}}]
    if twice == "particles":
        step = stop / 4
        walls = any(f["kind"] == "interval" for f in model.space.values())  # at which adaptive steps are many
        kinds = [kind for kind in sorted(INTEGRATORS) if not (walls and kind == "adaptive")]
        integrator = INTEGRATORS[draw(st.sampled_from(kinds))](draw, step)
        table["particles"] = {"counts": [4, 16, 64], "integrator": integrator}
    return Trial(table, twice, draw(number(0.0, 1.0)))
