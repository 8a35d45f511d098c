"""The public API: declared once, sorted, documented."""

import functools
import inspect
import pickle
import subprocess
import sys
import types
import typing

import pytest

import llmkit

_KINDS = staticmethod | classmethod | types.FunctionType | property | functools.cached_property


def _members(owner_name, owner):
    """The public functions, methods and properties that a class or module defines itself, with their full names."""
    for name, member in vars(owner).items():
        if name.startswith("_"):
            continue
        if isinstance(member, _KINDS) or inspect.isclass(member):
            yield f"{owner_name}.{name}", member


def _documented():
    """Every public name with what it stands for: exported ones, and the members of exported classes."""
    names = {}
    for name in getattr(llmkit, "__all__", ()):
        exported = getattr(llmkit, name)
        names[name] = exported
        for cls in inspect.getmro(exported) if inspect.isclass(exported) else ():
            if cls.__module__.startswith("llmkit"):
                names.update(_members(name, cls))
        if inspect.ismodule(exported):
            for inner in exported.__all__:
                names[f"{name}.{inner}"] = getattr(exported, inner)
                if inspect.isclass(names[f"{name}.{inner}"]):
                    names.update(_members(f"{name}.{inner}", names[f"{name}.{inner}"]))
    return names


DOCUMENTED = _documented()


def _doc(member):
    """The docstring of the thing itself; not one inherited from object, nor a dataclass's generated signature."""
    member = member.__func__ if isinstance(member, staticmethod | classmethod) else member
    doc = member.__doc__ or ""
    generated = inspect.isclass(member) and doc.startswith(f"{member.__name__}(")
    return "" if generated else doc.strip()


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_every_public_name_has_a_docstring(name):
    """What is public says what it does, in a sentence."""
    doc = _doc(DOCUMENTED[name])
    assert doc, f"llmkit.{name} has no docstring"


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_the_types_of_every_public_function_can_be_looked_up(name):
    """Documentation, editors and pydantic ask for them, also for those that are imported later."""
    member = DOCUMENTED[name]
    member = getattr(member, "fget", None) or getattr(member, "func", member)
    member = member.__func__ if isinstance(member, staticmethod | classmethod) else member
    if inspect.isclass(member) or inspect.isfunction(member):
        assert isinstance(typing.get_type_hints(member), dict)


def test_all_is_sorted_and_complete():
    """`__all__` is a sorted list without repeats of names that exist, and nothing public is left out of it."""
    assert llmkit.__all__ == sorted(set(llmkit.__all__))
    public = {
        name
        for name, value in vars(llmkit).items()
        if not name.startswith("_") and (not inspect.ismodule(value) or name in llmkit.__all__)
    }
    assert public == set(llmkit.__all__)


@pytest.mark.parametrize("name", ["Kit", "Catalog", "Run", "RunHandle"])
def test_the_four_main_classes_are_covered(name):
    """The methods of the classes that users hold are among those checked above."""
    assert sum(documented.startswith(f"{name}.") for documented in DOCUMENTED) >= 4


def test_importing_llmkit_is_light():
    """What only some users need is imported when it is used: a command line must answer at once."""
    code = "import sys, llmkit; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    for late in ("matplotlib", "ipywidgets", "genai_prices", "IPython", "openpyxl", "aiohttp.web"):
        assert late not in modules, f"import llmkit imports {late}"


def test_opening_a_catalog_imports_nothing_that_only_asking_needs(tmp_path):
    """Nor does closing it again: the modules for asking take as long as all others."""
    path = tmp_path / "c.duckdb"
    llmkit.open(path).close()
    code = f"import sys, llmkit; llmkit.open({str(path)!r}).close(); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    for late in ("llmkit.runs", "llmkit.analysis", "llmkit.limiter", "llmkit.providers.wires", "asyncio"):
        assert late not in ended.stdout.split(), f"llmkit.open imports {late}"


def test_the_log_is_silent_until_somebody_wants_it():
    """A library's log lines go where the program sends them, and not to the terminal by themselves."""
    code = "import logging, llmkit; logging.getLogger('llmkit.runs').warning('skipped')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")


def test_several_problems_come_whole_from_another_process():
    """A pool of workers sends errors as pickles."""
    refused = llmkit.RunRefused([llmkit.MissingApiKey("no key"), llmkit.ValidationError("no", field="samples")])
    back = pickle.loads(pickle.dumps(refused))
    assert (str(back), back.code) == (str(refused), llmkit.Code.MISSING_API_KEY)
    assert [type(each) for each in back.problems] == [llmkit.MissingApiKey, llmkit.ValidationError]
    assert back.problems[1].field == "samples"


@pytest.mark.parametrize(
    "make",
    [
        lambda n: llmkit.Scenario("Why?", dimensions={"city": "Rome", "n": n}),
        lambda n: llmkit.question.choice("Which?", ["a", "b"], dimensions={"n": n}),
        lambda n: llmkit.Config("openai:gpt-6-luna", temperature=n),
        lambda n: llmkit.Model(provider="openai", model_id="m", display_name="M", api_config={"n": n}),
    ],
)
def test_records_can_be_kept_in_sets(make):
    """Equal ones are one, so that duplicates are dropped as of any value; others stay apart."""
    assert len({make(1), make(1), make(2)}) == 2
