"""Mapping an object and its dependencies: which objects, in which order, found how.

Mirrors `_dl_map_object`, `_dl_map_object_from_fd`'s identity check (elf/dl-load.c),
`_dl_map_object_deps` (elf/dl-deps.c) and `_dl_sort_maps` (elf/dl-sort-maps.c).
"""

from __future__ import annotations

from ..binary.elf.dynamic import DT_AUXILIARY, DT_NEEDED
from .namespace import LoadedObject, Namespace
from .prediction import Dependency, MissingLibrary
from .search import Found, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .search import Searcher

#: A closure beyond this is a loop of generated names, not a plugin.
MAX_CLOSURE = 4096


class Mapped:
    """What `map_dependencies` found: the search list, how each object was found, what is missing.

    `fatal` is the first failure, as dlopen reports it: (outcome, reason, text).
    """

    __slots__ = ("dependencies", "fatal", "missing", "search_list")

    def __init__(self) -> None:
        self.search_list: list[LoadedObject] = []
        self.dependencies: list[Dependency] = []
        self.missing: list[MissingLibrary] = []
        self.fatal: tuple[str, str, str] | None = None


class Mapper:
    """Maps objects into a namespace for one process."""

    def __init__(self, namespace: Namespace, searcher: Searcher, main: LoadedObject) -> None:
        self.namespace = namespace
        self.searcher = searcher
        self.main = main

    def map_object(self, name: str, loader: LoadedObject | None) -> LoadedObject | NotFound:
        """`_dl_map_object`: a loaded object of that name, else search, else the same file."""
        loaded = self.namespace.find(name)
        if loaded is not None:
            return loaded
        found = self.searcher.find(name, loader, self.main)
        if isinstance(found, NotFound):
            return found
        return self.map_found(found, name, loader)

    def map_found(self, found: Found, name: str, loader: LoadedObject | None) -> LoadedObject:
        """`_dl_map_object_from_fd`: the same file is the same object, under one more name."""
        loaded = self.namespace.by_identity(found.library.identity)
        if loaded is not None:
            self.namespace.add_name(loaded, name)
            return loaded
        loaded = LoadedObject(
            found.path,
            found.library,
            loader=loader,
            how=found.how,
            owner=found.owner,
            new=True,
        )
        self.namespace.add(loaded, name)
        return loaded

    def map_dependencies(self, root: LoadedObject, preloads: list[LoadedObject]) -> Mapped:
        """`_dl_map_object_deps`: breadth first; auxiliary objects go before their owner."""
        result = Mapped()
        self.searcher.tries = 0
        known: list[list[object]] = [[root, False]]
        known += [[item, False] for item in preloads]
        listed = {id(root), *(id(item) for item in preloads)}
        at = 0
        while at < len(known):
            if known[at][1]:
                at += 1
                continue
            known[at][1] = True
            current = known[at][0]
            assert isinstance(current, LoadedObject)
            library = current.library
            if library is None:
                continue
            place = at
            current.needed = []
            for tag, raw in library.loads:
                name = self.searcher.substitute(raw, current)
                if not name:
                    continue
                mapped = self.map_object(name, current)
                if isinstance(mapped, NotFound):
                    if tag != DT_AUXILIARY:
                        _record_missing(result, name, current, mapped)
                    continue
                current.needed.append(mapped)
                if id(mapped) not in listed and len(known) < MAX_CLOSURE:
                    result.dependencies.append(_describe(name, mapped, current))
                if tag == DT_NEEDED:
                    if id(mapped) not in listed:
                        listed.add(id(mapped))
                        known.append([mapped, False])
                    continue
                if id(mapped) in listed:
                    later = next((i for i in range(place, len(known)) if known[i][0] is mapped), -1)
                    if later <= place:
                        continue
                    known.insert(place, known.pop(later))
                    known[place][1] = False
                else:
                    listed.add(id(mapped))
                    known.insert(place, [mapped, False])
                place += 1
        result.search_list = [item for item, _ in known if isinstance(item, LoadedObject)]
        return result


def _describe(name: str, mapped: LoadedObject, owner: LoadedObject) -> Dependency:
    how = mapped.how if mapped.new else "loaded"
    return Dependency(
        name, mapped.path, how, owner.path, mapped.library, mapped.new, mapped.owner, mapped.how
    )


def _record_missing(result: Mapped, name: str, current: LoadedObject, problem: NotFound) -> None:
    result.missing.append(
        MissingLibrary(name, current.path, problem.error, problem.searched, problem.rejected)
    )
    if result.fatal is None:
        result.fatal = (problem.outcome, problem.reason, problem.error)


def relocation_order(
    search_list: list[LoadedObject], root: LoadedObject, depth_first: bool = True
) -> list[LoadedObject]:
    """The new objects in the order in which dlopen relocates them (last of `l_initfini` first).

    `depth_first` is the order since 2.35.
    """
    maps = [root, *(item for item in search_list if item is not root)]
    if not depth_first:
        ordered = [root, *_sort_original(maps[1:])]
    else:
        ordered = _sort_depth_first(maps)
        # In 2.35 and 2.36 by their maintenance releases (bug 28937), which everybody has.
        if ordered and ordered[0] is not root:
            ordered.remove(root)
            ordered.insert(0, root)
    return [item for item in reversed(ordered) if item.new]


def _sort_depth_first(maps: list[LoadedObject]) -> list[LoadedObject]:
    """`_dl_sort_maps_dfs`: reverse postorder, from the last map to the first."""
    order: list[LoadedObject] = []
    visited: set[int] = set()
    for start in reversed(maps):
        if id(start) in visited:
            continue
        visited.add(id(start))
        # The root has no dependency list yet when it is sorted; the others begin with themselves.
        stack = [(start, iter(() if start is maps[0] else start.needed))]
        while stack:
            item, dependencies = stack[-1]
            for dependency in dependencies:
                if id(dependency) not in visited:
                    visited.add(id(dependency))
                    inner = () if dependency is maps[0] else dependency.needed
                    stack.append((dependency, iter(inner)))
                    break
            else:
                order.append(item)
                stack.pop()
    listed = {id(item) for item in maps}
    return [item for item in reversed(order) if id(item) in listed]


def _sort_original(maps: list[LoadedObject]) -> list[LoadedObject]:
    """`_dl_sort_maps_original`, the default before 2.35."""
    count = len(maps)
    if count <= 1:
        return maps
    maps = list(maps)
    seen = [0] * count
    i = 0
    while True:
        seen[i] += 1
        current = maps[i]
        moved = False
        for k in range(count - 1, i, -1):
            if any(item is current for item in maps[k].needed):
                maps[i:k] = maps[i + 1 : k + 1]
                maps[k] = current
                if seen[i + 1] > count - i:
                    i += 1
                    seen[i:] = [0] * (count - i)
                else:
                    this_seen = seen[i]
                    seen[i:k] = seen[i + 1 : k + 1]
                    seen[k] = this_seen
                moved = True
                break
        if moved:
            continue
        i += 1
        if i == count:
            return maps
        seen[i:] = [0] * (count - i)
