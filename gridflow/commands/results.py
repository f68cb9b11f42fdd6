"""Results and verdicts as JSON, for programs that call the command line."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray

    from gridflow.output.dataset import Ending

CERTIFICATES = ("mass_error_max", "energy_decreases", "energy_rise_max", "energy_roundoff", "wall_seconds")


def solve_json(ending: "Ending", output: Path, picture: Path | None) -> str:
    """Status, file, certificates and the numbers of the last save, in one line."""
    attrs = ending.attrs
    result = {
        "status": attrs["status"],
        "file": str(output),
        "picture": None if picture is None else str(picture),
        "certificates": {name: attrs[name] for name in CERTIFICATES},
        "warnings": attrs.get("warnings", "").splitlines(),
        "last": ending.last,
    }
    return json_line(result)


def validate_json(result: "xarray.Dataset", data: Path, picture: Path) -> str:
    """Verdict, files, and outcome, threshold and reason of every quantity, in one line."""
    attrs = result.attrs
    quantities = {
        str(row["quantity"].values): {name: row[name].item() for name in ("outcome", "threshold", "reason")}
        for row in (result.isel(quantity=k) for k in range(result.sizes["quantity"]))
    }
    found = {
        "verdict": attrs["verdict"],
        "file": str(data),
        "picture": str(picture),
        "quick": bool(attrs["quick"]),
        "worth": attrs.get("worth"),
        "detects": attrs.get("detects"),
        "quantities": quantities,
        "warnings": attrs.get("warnings", "").splitlines(),
    }
    return json_line(found)


def json_line(value: Any) -> str:
    """JSON; numbers that it does not have, as an infinite worth, are null."""
    return json.dumps(json_value(value), ensure_ascii=False, allow_nan=False)


def json_value(value: Any) -> Any:
    """The same with null for NaN and infinities."""
    if isinstance(value, dict):
        return {key: json_value(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
