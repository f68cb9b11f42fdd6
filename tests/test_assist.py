"""What helps to write cases and commands: keys in words, the JSON Schema, completion; results as JSON; wrong flags."""

import json
import os
import subprocess
import sys

import msgspec
import numpy as np
import pytest
import xarray

from gridflow.case.case import Case, load_case
from gridflow.case.keys import keys_of_case, keys_text, names_in, sections_below
from gridflow.case.schema import case_schema, meanings_of, structs_of, summary_of
from gridflow.case.shipped import shipped_cases
from gridflow.cli import main
from gridflow.commands.results import json_line
from gridflow.errors import InputError

SCHEMA = case_schema()
TABLES = SCHEMA["$defs"]
CASE = "teacher-1d-quadratic"
SMALL = ["--set", "space.theta.cells=32", "--set", "time.save=3"]


TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def allows(entry, value):
    """Whether a part of the schema admits a value: of JSON Schema, what that of a case uses."""
    if "$ref" in entry:
        return allows(TABLES[entry["$ref"].rpartition("/")[2]], value)
    if "anyOf" in entry:
        return any(allows(part, value) for part in entry["anyOf"])
    if "enum" in entry:
        return value in entry["enum"]
    if not isinstance(value, TYPES[entry["type"]]):
        return False
    if isinstance(value, dict):
        properties, others = entry.get("properties", {}), entry.get("additionalProperties", False)
        parts = [allows(properties[k], v) if k in properties else others and allows(others, v) for k, v in value.items()]
        return all(parts) and set(entry.get("required", ())) <= set(value)
    if isinstance(value, list | tuple):
        items = entry["prefixItems"] if "prefixItems" in entry else [entry["items"]] * len(value)
        return len(items) == len(value) and all(allows(i, v) for i, v in zip(items, value, strict=True))
    return value > entry.get("exclusiveMinimum", -np.inf) if isinstance(value, float) else True


@pytest.mark.parametrize("name", shipped_cases())
def test_the_schema_admits_every_shipped_case(name):
    table = json.loads(msgspec.json.encode(load_case(name)))  # tuples become lists
    table = {k: v for k, v in table.items() if k not in ("name", "directory")}
    assert allows(SCHEMA, table)
    assert not allows(SCHEMA, {**table, "sceme": {}})
    assert not allows(SCHEMA, {**table, "time": {"stop": 0.0}})


def test_the_schema_has_every_struct_and_its_meanings():
    structs = structs_of(Case)
    assert set(structs) == set(TABLES)
    assert not {"name", "directory"} & set(TABLES["Case"]["properties"])
    assert TABLES["Network"]["properties"]["bias"]["description"].startswith("append 1 to the inputs")
    assert [name for name, struct in structs.items() if not summary_of(struct)] == []


def test_meanings_come_from_docstrings():
    class Part(msgspec.Struct):
        """What it is,
        in a line.

        one : the first,
            of many; two, three : the others

        Not part of it. four : of these.
        """

        one: int
        two: int
        three: int
        four: int
        five: int

    assert summary_of(Part) == "What it is, in a line."
    assert meanings_of(Part) == {"one": "the first, of many", "two": "the others", "three": "the others", "four": "of these"}


def sections(path=()):
    """Every section of a case, without going around in circles."""
    for section in sections_below(".".join([*path, ""])):
        parts = section.split(".")
        yield section
        if len(parts) < 4 and len(set(parts)) == len(parts):
            yield from sections(parts)


def test_every_section_has_words():
    found = list(sections())
    assert len(found) > 300
    assert {"time", "energy.network.data.file", "scheme.jko.tau"} <= set(found)
    for section in found:
        assert section in keys_text(section)
    text = keys_text("scheme.jko")
    for part in (
        "tau: number > 0.0; required",
        'bias: "compensate" or "debias" or "plain"; default "compensate"',
        "physical time step",
    ):
        assert part in text
    assert "tables: gridflow keys energy.network.data" in keys_text("energy.network")
    assert "energy.mmd" in keys_text("energy")
    assert "flow.temperature: number ≥ 0.0" in keys_text("flow.temperature")


def test_an_unknown_section_is_refused(capsys):
    assert main(["keys", "energy.netwrok"]) == 2
    assert "did you mean 'network'" in capsys.readouterr().err
    with pytest.raises(InputError, match="no key 'bounds' in time"):
        keys_text("time.bounds")
    assert sections_below("no.such.place") == []


def test_the_commands_print_them(capsys):
    assert main(["keys", "time"]) == 0
    assert "stop: number > 0.0; required" in capsys.readouterr().out
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(SCHEMA))
    assert set(names_in(SCHEMA)) <= set(TABLES)


def completions(line, where):
    """What a shell gets for a line that is being written."""
    answer = where / "answer"
    environment = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    environment |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"}
    words = [sys.executable, "-m", "gridflow"]
    subprocess.run(words, env=os.environ | environment, cwd=where, check=True, capture_output=True)
    return [word.strip() for word in answer.read_text().splitlines()]


def test_a_shell_completes_commands_cases_keys_and_options(tmp_path):
    (tmp_path / "mine.toml").touch()
    assert set(completions("gridflow s", tmp_path)) == {"show", "solve", "sweep", "schema"}
    assert {"bn-circle", "bn-circle-jko"} <= set(completions("gridflow solve bn-ci", tmp_path))
    assert completions("gridflow solve mi", tmp_path) == ["mine.toml"]
    assert completions("gridflow solve bn-circle --res", tmp_path) == ["--resume"]
    assert completions("gridflow solve bn-circle --set space.a.ce", tmp_path) == ["space.a.cells="]
    assert completions("gridflow keys scheme.j", tmp_path) == ["scheme.jko"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells(shell, capsys):
    assert main(["completion", shell]) == 0
    assert "gridflow" in capsys.readouterr().out


def test_keys_of_a_case_are_those_of_set():
    case = load_case(CASE)
    keys = keys_of_case(case)
    assert {"space.theta.cells", "scheme.kind", "time.stop"} <= set(keys)
    assert not {"name", "directory"} & set(keys)


# ------------------------------------------------------------------------------------------------------------ results
def test_solve_prints_one_json_object(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["solve", CASE, "-o", "a.nc", *SMALL, "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    found = json.loads(captured.out)
    with xarray.open_dataset("a.nc") as dataset:
        assert found["status"] == "completed"
        assert found["file"] == "a.nc"
        assert found["certificates"]["mass_error_max"] == dataset.attrs["mass_error_max"] <= 1e-12
        assert found["last"]["energy"] == float(dataset["energy"][-1])
    assert main(["solve", CASE, "-o", "b.nc", *SMALL, "--json", "--set", "time.max_steps=2"]) == 1
    assert json.loads(capsys.readouterr().out)["status"].startswith("failed: 2 steps done")


def test_validate_prints_one_json_object(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = ['title = "heat on a circle"', 'space.x = { kind = "circle", cells = 32 }', 'energy.kind = "potential"']
    lines += ["flow.temperature = 0.2", 'scheme.kind = "finite-volume"', "time = { stop = 0.5, save = 2 }", 'exact.kind = "heat"']
    lines += ['validation.w1 = { threshold = 0.01, reason = "a twentieth of a cell" }']
    lines += ["[[initial]]", 'density.x = { kind = "cosine", amplitude = 0.8 }']
    (tmp_path / "heat.toml").write_text("\n".join(lines))
    assert main(["validate", "heat.toml", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "pass"
    assert {row["outcome"] for row in found["quantities"].values()} == {"pass"}
    assert (tmp_path / found["file"]).is_file()
    assert (tmp_path / found["picture"]).is_file()


def test_json_has_no_infinities():
    assert json.loads(json_line({"a": {"worth": float("inf")}, "b": 1.5})) == {"a": {"worth": None}, "b": 1.5}


# -------------------------------------------------------------------------------------------------------- wrong flags
@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["solve", CASE, "--overwrit"], "did you mean '--overwrite'? Or see gridflow solve --help"),
        (["plot", "a.nc", "--quiet"], "gridflow plot: unknown: --quiet"),
        (["list", "all"], "gridflow list: unknown: all"),
    ],
)
def test_unknown_words_point_to_the_help_of_their_command(words, part, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert part in capsys.readouterr().err


def test_the_package_is_a_program():
    found = subprocess.run([sys.executable, "-m", "gridflow", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("gridflow ")
