"""Python source of methods, read and never run: its local modules, its fingerprint and its classes.

A module is *local* if no version number identifies its content: a module beside a user's file, in a plug-in's own
package, a method of the suite, or any other module on the import path that no installer keeps. The search finds modules
as ``import`` does, but runs no package. It cannot see the files that a module reads (a card's ``files`` count
elsewhere) or the modules that it imports by a computed name.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from cl_ner_bench.errors import UserError

BESIDE = "_cl_ner_bench_user"
"""The package for a file outside any package. The file can then import modules beside it."""

_SUITE, _METHODS = "cl_ner_bench", "cl_ner_bench.methods."
_VERSIONED = {"numpy", "tokenizers", "torch", "transformers"}  # a run's record holds their versions
_BY_NAME = {"__getattr__", "exec", "globals", "setattr", "vars"}  # with these, code may bind names at run time
_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")  # of statements
_INSTALLED = ("site-packages", "dist-packages")


def parse(file: Path) -> ast.Module:
    """Return the syntax tree of a Python file. Raise UserError with file and line if it cannot be parsed."""
    try:
        return ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except SyntaxError as error:
        raise UserError(f"{file}:{error.lineno or 1}: not Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL, deep brackets
        raise UserError(f"{file}: not Python: {error or type(error).__name__}") from None


def find(name: str, beside: Path | None = None) -> ModuleSpec | None:
    """Return the spec of a module by its absolute name, or None if there is no such module.

    Run no package: below the top level, search the folders of the package. ``beside`` is the folder of the package
    ``BESIDE``.
    """
    top, *below = name.split(".")
    spec: ModuleSpec | None
    if top == BESIDE:
        spec = ModuleSpec(top, None)
        spec.submodule_search_locations = [] if beside is None else [str(beside)]
    else:
        try:
            spec = find_spec(top)
        except (ImportError, ValueError):  # __main__ has no spec
            spec = None
    for part in below:
        if spec is None or spec.submodule_search_locations is None:
            return None
        # `find_spec` would run the parent of a dotted name.
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    return spec


class Program:
    """A method's file with the local modules that it imports, directly or indirectly.

    ``module`` is the file's dotted name in a package, None for a file outside any package. Methods raise UserError with
    file and line if a module is not valid Python.
    """

    def __init__(self, file: Path, module: str | None = None) -> None:
        self._beside = file.parent
        self.main = _Module(module or f"{BESIDE}.{file.stem}", file, file.name == "__init__.py")

    @cached_property
    def modules(self) -> dict[str, _Module]:
        """The local modules by their dotted names, without the file itself."""
        importlib.invalidate_caches()
        found: dict[str, _Module] = {}
        seen, waiting = {self.main.name}, [*_above(self.main.name), *self.main.imports()]
        while waiting:
            name = waiting.pop()
            if name in seen or not name:
                continue
            seen.add(name)
            waiting += _above(name)
            spec = find(name, self._beside)
            if spec is None or not spec.has_location or not spec.origin or not self._is_local(name):
                continue
            found[name] = _Module(name, Path(spec.origin), spec.submodule_search_locations is not None)
            waiting += found[name].imports()
        return found

    def fingerprint(self) -> str:
        """Return the sha256 (hex) of the code, without comments, docstrings and cards."""
        own = self.main.fingerprint()
        if not self.modules:
            return own
        others = {name: module.fingerprint() for name, module in self.modules.items()}
        return hashlib.sha256(json.dumps([own, others], sort_keys=True).encode()).hexdigest()

    def files(self) -> set[Path]:
        """Return the resolved paths of the program's files."""
        return {module.place()[1].resolve() for module in (self.main, *self.modules.values())}

    def sources(self) -> dict[str, Path]:
        """Return the program's Python files by their paths below an import folder."""
        found = (module.place() for module in (self.main, *self.modules.values()))
        return {place: file for place, file in found if file.suffix == ".py"}

    def bases(self, name: str) -> set[str | None]:
        """Return the dotted names of the classes outside local modules from which the class ``name`` derives.

        None in the set stands for a class that is unknown unless the code runs. The set is empty if the file does not
        bind ``name``.
        """
        if name not in self.main.bound and not self.main.is_dynamic:
            return set()
        return self._bases(self.main, name, set())

    def texts(self, name: str, attribute: str) -> set[str]:
        """Return the texts in an attribute (a value or a property) of the class ``name``.

        The class may inherit the attribute from a class of the file or of a local module. The set is empty if no such
        class has it.
        """
        return self._texts(self.main, name, attribute, set())

    def _texts(self, module: _Module, name: str, attribute: str, seen: set[tuple[str, str]]) -> set[str]:
        if (module.name, name) in seen:
            return set()
        seen.add((module.name, name))
        for value in module.bound.get(name, ()):
            if isinstance(value, str):
                place, _, inner = value.rpartition(".")
                if self._is_local(place) and place in self.modules:
                    return self._texts(self.modules[place], inner, attribute, seen)
            if isinstance(value, ast.ClassDef):
                for node in value.body:
                    if attribute in _assigned(node):
                        return {
                            n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                        }
                for base in value.bases:
                    if isinstance(base, ast.Name) and (found := self._texts(module, base.id, attribute, seen)):
                        return found
        return set()

    def _bases(self, module: _Module, name: str, seen: set[tuple[str, str]]) -> set[str | None]:
        if (module.name, name) in seen:
            return set()
        seen.add((module.name, name))
        found: set[str | None] = set()
        for value in module.bound.get(name, [None]):
            if isinstance(value, ast.ClassDef):
                for base in value.bases or [ast.Name("object")]:
                    found |= self._resolve(module, base, seen)
            elif isinstance(value, str):
                found |= self._imported(value, seen)
            else:
                found |= self._resolve(module, value, seen)
        return found

    def _resolve(self, module: _Module, node: ast.AST | None, seen: set[tuple[str, str]]) -> set[str | None]:
        """Return the bases, outside local modules, of the class that an expression names."""
        if isinstance(node, ast.Subscript):
            node = node.value
        if isinstance(node, ast.Name):
            if node.id not in module.bound and hasattr(builtins, node.id):
                return {f"builtins.{node.id}"}
            return self._bases(module, node.id, seen)
        path = _dotted(node)
        values = module.bound.get(path[0], []) if path else []
        found = {f"{value}.{'.'.join(path[1:])}" for value in values if isinstance(value, str)}
        return set().union(*(self._imported(name, seen) for name in found)) if found else {None}

    def _imported(self, name: str, seen: set[tuple[str, str]]) -> set[str | None]:
        """Return the bases, outside local modules, of the class with this dotted name."""
        module, _, attribute = name.rpartition(".")
        top = name.partition(".")[0]
        if top in _VERSIONED or top in sys.stdlib_module_names or (top == _SUITE and not name.startswith(_METHODS)):
            return {name}
        return self._bases(self.modules[module], attribute, seen) if module in self.modules else {None}

    def _is_local(self, name: str) -> bool:
        top, own = name.partition(".")[0], self.main.name.partition(".")[0]
        if top == _SUITE:
            return name.startswith(_METHODS)  # the rest of the suite has its NUMERICS
        if top == own:
            return True
        if top in _VERSIONED or top in sys.stdlib_module_names:
            return False
        spec = find(top)
        places = [] if spec is None else spec.submodule_search_locations or [spec.origin or ""]
        return not any(_is_installed(Path(place).parent) for place in places)


def _is_installed(folder: Path) -> bool:
    """Return True if an installer keeps this folder of the import path."""
    return folder.name in _INSTALLED or any(folder.glob("*.dist-info"))


def _assigned(node: ast.stmt) -> list[str]:
    """Return the names that a statement of a class binds."""
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _above(name: str) -> list[str]:
    """Return the names of the packages around a module."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _dotted(node: ast.AST | None) -> list[str]:
    """Return the names of ``a.b.c``, or [] for any other expression."""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return [*before, node.attr] if before else []
    return [node.id] if isinstance(node, ast.Name) else []


class _Module:
    """A Python module, or an extension module, of which only the bytes are known."""

    def __init__(self, name: str, file: Path, is_package: bool) -> None:
        self.name, self._file = name, file
        self._package = name if is_package else name.rpartition(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree, empty for an extension."""
        return parse(self._file) if self._is_python else ast.Module([], [])

    def place(self) -> tuple[str, Path]:
        """Return the module's path below an import folder, and the path of its file."""
        names = self.name.removeprefix(f"{BESIDE}.").split(".")
        is_package = self._package == self.name
        return "/".join([*names, "__init__"] if is_package else names) + self._file.suffix, self._file

    @property
    def _is_python(self) -> bool:
        return self._file.suffix == ".py"

    def imports(self) -> Iterator[str]:
        """Yield the absolute names of all imported modules and of all imported names in them."""
        for node in _statements(self.tree.body):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and (base := self._absolute(node)):
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)

    def _absolute(self, node: ast.ImportFrom) -> str:
        """Return the absolute name of the module of a ``from`` import, or "" if it leads out of the top package."""
        if not node.level:
            return node.module or ""
        parts = self._package.split(".")
        parts = parts[: len(parts) - node.level + 1]
        return ".".join([*parts, node.module] if node.module else parts) if parts else ""

    def fingerprint(self) -> str:
        """Return the sha256 (hex) of the code without comments, docstrings and card, or of an extension's bytes."""
        if not self._is_python:
            try:
                return hashlib.sha256(self._file.read_bytes()).hexdigest()
            except OSError as error:
                raise UserError(f"{self._file}: cannot be read ({error.strerror})") from None
        tree = parse(self._file)  # a copy, because the loop changes it
        tree.body = [node for node in tree.body if not is_card(node)]
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                value = body[0].value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    node.body = body[1:]  # type: ignore[attr-defined]
        return hashlib.sha256(ast.dump(tree).encode()).hexdigest()

    @cached_property
    def bound(self) -> dict[str, list[ast.AST | str]]:
        """The values bound to each name, in all branches: classes, expressions, dotted names of imports."""
        found: dict[str, list[ast.AST | str]] = {}
        for name, value in self._bindings(self.tree.body):
            found.setdefault(name, []).append(value)
        return found

    def _bindings(self, body: Sequence[ast.AST]) -> Iterator[tuple[str, ast.AST | str]]:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, node
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                yield from ((alias.asname or alias.name, f"{base}.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.Assign):
                yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                yield node.target.id, node.value
            else:  # if, try, with, for
                for field in _BODIES:
                    yield from self._bindings(getattr(node, field, []))

    @property
    def is_dynamic(self) -> bool:
        """True if the module may bind names in a way that its source does not show."""
        return "*" in self.bound or any(
            getattr(node, "id", getattr(node, "name", None)) in _BY_NAME for node in ast.walk(self.tree)
        )


def _statements(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Yield the statements of a body and of all bodies in it. (``ast.walk`` visits ten times as many nodes.)"""
    for node in body:
        yield node
        for field in _BODIES:
            yield from _statements(getattr(node, field, ()))


def is_card(node: ast.stmt) -> bool:
    """Return True for the statement that assigns a method file's ``CARD``."""
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "CARD" for t in node.targets)
