"""Build the compiled half of nnqpy with the wheel, where that is possible.

``NNQPY_BUILD`` in the environment: ``pure`` leaves it out, ``compiled`` fails where it cannot be built, and without the
variable a failure is told and the wheel is pure.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

NAME = "nnqpy._accel"
SOURCES = ["nnqpy/wire/_accel.c"]
HEADERS = ["nnqpy/wire/_frames.h"]


class CompiledHalf(BuildHookInterface[Any]):
    """Compiles one extension module: into the wheel, or beside its source where the install is editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, before the files of the wheel are gathered."""
        wanted = os.environ.get("NNQPY_BUILD", "")
        if wanted not in {"", "pure", "compiled"}:
            raise ValueError(f"NNQPY_BUILD is pure, compiled or not set, not {wanted!r}")
        if self.target_name != "wheel" or wanted == "pure":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="nnqpy-build-")  # until we are done: hatchling copies from it
        try:
            built = self._compiled(Path(self._folder.name))
        except Exception as error:  # whatever a compiler's absence looks like here
            if wanted == "compiled":
                raise
            self.app.display_warning(f"without the compiled half of nnqpy, the one in Python will do: {error}")
            return
        place = f"nnqpy/{built.name}"
        if version == "editable":
            (Path(self.root) / place).write_bytes(built.read_bytes())
        else:
            build_data["force_include"][str(built)] = place
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def _compiled(self, folder: Path) -> Path:
        there = Path.cwd()
        os.chdir(self.root)
        try:
            command = build_ext(Distribution({"ext_modules": [Extension(NAME, SOURCES, depends=HEADERS)]}))
            command.build_lib = str(folder)
            command.build_temp = str(folder / "objects")
            command.ensure_finalized()
            command.run()
            return Path(command.get_ext_fullpath(NAME))
        finally:
            os.chdir(there)
