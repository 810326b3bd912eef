"""Methods and datasets by name: the suite's own and those of installed packages (entry points).

A method or dataset that cannot be read is an entry, too. It raises its error only when a user asks for it. Listing
entries runs no code of a package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, EntryPoints, distributions
from typing import Generic, TypeVar

from cl_ner_bench.errors import UserError
from cl_ner_bench.source import find

T = TypeVar("T")
Entry = tuple[str, str, T | UserError]
"""A name, its origin, and its method or dataset (or the error of reading it)."""


class Registry(Mapping[str, T], Generic[T]):
    """Entries of one ``kind`` by name. Iteration yields the sound entries.

    Looking up a broken entry raises its UserError, an unknown entry KeyError. ``in`` is True for sound and broken
    entries, because their names are taken.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._sound: dict[str, T] = {}
        self.broken: dict[str, str] = {}  # name -> message
        self.origins: dict[str, str] = {}

    def add(self, name: str, origin: str, entry: T | UserError) -> None:
        """Add an entry. If the name is taken, it becomes a broken entry, and its error names both origins."""
        if name in self.origins:
            first = self.origins[name]
            entry = UserError(f"two {self._kind}s are called {name!r}: {first} and {origin}; rename one")
            origin = f"{first} and {origin}"
            self._sound.pop(name, None)
        self.origins[name] = origin
        if isinstance(entry, UserError):
            self.broken[name] = str(entry)
        else:
            self._sound[name] = entry

    def __getitem__(self, name: str) -> T:
        if name in self.broken:
            raise UserError(self.broken[name])
        return self._sound[name]

    def __contains__(self, name: object) -> bool:
        return name in self.origins

    def __iter__(self) -> Iterator[str]:
        return iter(self._sound)

    def __len__(self) -> int:
        return len(self._sound)

    @property
    def unread(self) -> str:
        """The broken entries, for the end of a message about an unknown name: one of them may define that name."""
        return "".join(f"\nbroken {self._kind} {name!r}: {error}" for name, error in self.broken.items())


def add_plug_ins(registry: Registry[T], group: str, read: Callable[[EntryPoint], Iterable[Entry[T]]]) -> None:
    """Add the entries of installed packages in an entry-point group. ``read`` returns the entries of an entry point."""
    packages: dict[str, EntryPoints] = {}
    for distribution in distributions():
        try:
            points = distribution.entry_points.select(group=group)
        except Exception as error:  # importlib.metadata raises various errors for a malformed file
            package = distribution.name or "a package without a name"
            registry.add(package, package, UserError(f"{package}: its entry_points.txt cannot be read ({error})"))
        else:
            if points:  # the first copy of a package on the import path counts
                packages.setdefault(distribution.name or "a package without a name", points)
    for package in sorted(packages):
        for point in sorted(packages[package], key=lambda point: point.name):
            where = f"the entry point {point.name!r} of {package}"
            try:
                entries = list(read(point))
            except UserError as error:
                entries = [(point.name, where, UserError(f"{where}: {error}"))]
            for name, origin, entry in entries:
                registry.add(name, f"{origin} ({package})", entry)


def locate(point: EntryPoint) -> ModuleSpec:
    """Return the spec of the module of an entry point. Raise UserError if there is no such module."""
    match = EntryPoint.pattern.match(point.value)
    spec = match and find(match["module"])
    if not spec:
        raise UserError(f"it names {point.value!r}, and there is no such module")
    return spec
