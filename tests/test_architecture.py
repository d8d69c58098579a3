"""The layers hold, and the package uses nothing that runs what a stranger sent."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nnqpy

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(nnqpy.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in SOURCES
}
TESTS = sorted(path for folder in ("tests", "interop") for path in (ROOT / folder).rglob("test_*.py"))

DANGEROUS_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "ctypes"}
DANGEROUS_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
APPLICATIONS = {"cli", "bench", "__main__.py"}


def names(paths: list[Path], base: Path) -> list[str]:
    """Return the paths as test ids."""
    return [path.relative_to(base).as_posix() for path in paths]


def test_the_import_contracts_hold() -> None:
    """The layers and the forbidden imports of pyproject.toml, as import-linter sees them."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"

    report = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert report.returncode == 0, report.stdout[-4000:] + report.stderr


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES, PACKAGE))
def test_nothing_runs_what_a_stranger_sent(path: Path) -> None:
    """No pickle, marshal, eval, exec or shell anywhere in the package."""
    assert list(dangers(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES, PACKAGE))
def test_only_applications_use_the_public_front(path: Path) -> None:
    """A module of the library imports from where a name lives: through ``nnqpy`` itself every import would be a circle."""
    if path.relative_to(PACKAGE).parts[0] in APPLICATIONS or path == PACKAGE / "__init__.py":
        return
    from_the_front: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            from_the_front += [alias.name for alias in node.names if alias.name == "nnqpy"]
        elif isinstance(node, ast.ImportFrom) and node.module == "nnqpy":
            from_the_front += [alias.name for alias in node.names if f"nnqpy.{alias.name}" not in MODULES]

    assert from_the_front == []


@pytest.mark.parametrize("path", TESTS, ids=names(TESTS, ROOT))
def test_every_test_is_a_sentence_and_waits_for_no_clock(path: Path) -> None:
    """Each test says in a docstring what holds; none sleeps: a test waits for an event."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    mute = [node.name for node in functions if node.name.startswith("test_") and not ast.get_docstring(node)]
    sleeps = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and is_real_sleep(node)]

    assert (mute, sleeps) == ([], [])


def test_python_m_shows_the_command() -> None:
    """``python -m nnqpy version`` says the version that the package has."""
    report = subprocess.run([sys.executable, "-m", "nnqpy", "version"], capture_output=True, text=True, check=True)

    assert report.stdout.startswith(f"nnqpy {nnqpy.__version__} ")
    assert report.stderr == ""


def test_importing_the_blocking_face_starts_nothing() -> None:
    """``import nnqpy`` starts no thread and needs neither trio nor pynng nor the bench."""
    program = """if True:
        import sys, threading, nnqpy
        assert threading.active_count() == 1, threading.enumerate()
        assert not {"trio", "pynng", "nnqpy.trio", "nnqpy.bench", "nnqpy.cli"} & set(sys.modules)
    """

    report = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (report.returncode, report.stderr) == (0, "")


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from marshal import loads", "eval('1')", "run('x', shell=True)", "import os; os.system('x')"],
)
def test_the_lint_sees_what_it_looks_for(line: str) -> None:
    """A lint that finds nothing in anything would pass everything."""
    assert list(dangers(ast.parse(line)))


def dangers(tree: ast.Module) -> list[str]:
    """Return what in `tree` runs, or unpacks into running, what a stranger sent."""
    found: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                found += [alias.name for alias in aliases if alias.name.partition(".")[0] in DANGEROUS_MODULES]
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in DANGEROUS_MODULES:
                found.append(module)
            case ast.Call(func=function, keywords=keywords):
                if ast.unparse(function) in DANGEROUS_CALLS:
                    found.append(ast.unparse(function))
                found += ["shell" for word in keywords if word.arg == "shell"]
            case _:
                pass
    return found


def is_real_sleep(call: ast.Call) -> bool:
    """True for a sleep of some seconds; ``sleep(0)`` and ``sleep_forever()`` give way to others and are no wait."""
    if ast.unparse(call.func) not in {"time.sleep", "sleep", "asyncio.sleep", "trio.sleep"}:
        return False
    return not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0)
