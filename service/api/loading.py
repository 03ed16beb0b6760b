"""Loads all that a selection asks for, level by level, before it is resolved.

A field that needs the database names a loader in its metadata; the loader gets
every parent of its level at once. So the number of statements depends on the
document alone, never on how many rows a page has; nothing is fetched that is not
selected; and every resolver is a plain look-up of what was loaded.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLIncludeDirective,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    GraphQLUnionType,
    InlineFragmentNode,
    SelectionSetNode,
    get_argument_values,
    get_directive_values,
    get_named_type,
)
from strawberry.types import Info

from service.domain.article import shown
from service.domain.errors import BadArgument, OnrecordError
from service.queries.snapshot import AsOf, View, as_of

#: Where a field's metadata names its loader.
LOAD: Final = "load"


Arguments = Mapping[str, Any]
#: Takes a view, the parents and the field's arguments; gives a value (or Failure) for each parent.
Loader = Callable[[View, Sequence[Any], Arguments], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Failure:
    """What a field answers instead of a value."""

    error: OnrecordError


#: What was loaded for the fields of an object, by the nodes of the document that select the field.
Loaded = dict[tuple[int, ...], Any]


class Holder(Protocol):
    """An object that keeps what was loaded for its fields."""

    loaded: Loaded


def _key(nodes: Iterable[FieldNode]) -> tuple[int, ...]:
    # All of them: one object may be reached by two ways that share a fragment, and what
    # was loaded for the fragment alone must not stand where more is selected beside it.
    return tuple(id(node) for node in nodes)


def taken(holder: Holder, info: Info[Any, Any]) -> Any:
    """What was loaded for the field that is being resolved."""
    # The same nodes that `Selection` keyed it by: both collect fields in the order of the document.
    value = holder.loaded[_key(cast(Any, info)._raw_info.field_nodes)]
    if isinstance(value, Failure):
        raise value.error
    return value


@dataclass(frozen=True, slots=True)
class Selection:
    """An operation being loaded: its schema, fragments and variables."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Any  #: as graphql-core coerced them.

    def load(
        self,
        view: View,
        of: GraphQLObjectType,
        parents: Sequence[Any],
        selections: Iterable[SelectionSetNode],
    ) -> None:
        """Load what `selections` ask of `parents`, all of the type `of`, and of everything below."""
        for nodes in self.collect(of, selections).values():
            definition = of.fields.get(nodes[0].name.value)
            if definition is None:  # __typename and the like
                continue
            below = [node.selection_set for node in nodes if node.selection_set is not None]
            strawberry_field = definition.extensions.get("strawberry-definition")
            loader = cast("Loader | None", strawberry_field and strawberry_field.metadata.get(LOAD))
            then = view
            if loader is not None:
                then, values = self._load_field(loader, view, definition, parents, nodes)
            elif below and nodes[0].name.value == "edges":
                self._load_edges(view, definition, parents, below)
                continue
            elif below:
                values = [getattr(parent, strawberry_field.python_name) for parent in parents]
            else:
                continue
            if below:
                self.descend(then, definition, values, below)

    def descend(
        self, view: View, definition: GraphQLField, values: Sequence[Any], below: list[SelectionSetNode]
    ) -> None:
        """Load what is selected below a field that has these values."""
        named = cast(Any, get_named_type(cast(Any, definition).type))
        groups: dict[tuple[str, AsOf | None, AsOf | None], list[Any]] = {}
        for value in _flat(values):
            if isinstance(named, GraphQLObjectType):
                name = named.name
            elif isinstance(named, GraphQLInterfaceType | GraphQLUnionType):
                name = cast(Any, type(value)).__strawberry_definition__.name
            else:
                return
            # What was read as of another moment goes on as of that, and says so if it was asked for.
            read_at, as_of = getattr(value, "read_at", None), getattr(value, "as_of", None)
            groups.setdefault((name, read_at, as_of), []).append(value)
        for (name, read_at, as_of), members in groups.items():
            of = cast("GraphQLObjectType", self.schema.type_map[name])
            then = view if read_at is None else view.at(read_at)
            then = then if as_of is None else view.at(as_of, named=True)
            if then.named and any(each.name == "Node" for each in of.interfaces):
                _mark(then, members)
            self.load(then, of, members, below)

    def _load_edges(
        self,
        view: View,
        definition: GraphQLField,
        parents: Sequence[Any],
        below: list[SelectionSetNode],
    ) -> None:
        """Edges are made only when they are resolved; what they lead to are the page's own nodes."""
        edge = cast("GraphQLObjectType", get_named_type(cast(Any, definition).type))
        for nodes in self.collect(edge, below).values():
            if nodes[0].name.value == "node":
                selected = [node.selection_set for node in nodes if node.selection_set is not None]
                self.descend(view, edge.fields["node"], [parent.nodes for parent in parents], selected)

    def _load_field(
        self,
        loader: Loader,
        view: View,
        definition: GraphQLField,
        parents: Sequence[Any],
        nodes: Sequence[FieldNode],
    ) -> tuple[View, Sequence[Any]]:
        arguments = get_argument_values(definition, nodes[0], self.variables)
        try:
            _refuse_what_no_text_holds(arguments)
            view = _asked(view, arguments)
            values = loader(view, parents, arguments)
        except OnrecordError as error:
            values = [Failure(error)] * len(parents)
        for parent, value in zip(parents, values, strict=True):
            parent.loaded[_key(nodes)] = value
        return view, values

    def collect(self, of: GraphQLObjectType, selections: Iterable[SelectionSetNode]) -> dict[str, list[FieldNode]]:
        """The fields selected of a type, by response key, each with its nodes in document order."""
        fields: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        for selection in selections:
            self._collect(of, selection, fields, visited)
        return fields

    def _collect(
        self,
        of: GraphQLObjectType,
        selection: SelectionSetNode,
        fields: dict[str, list[FieldNode]],
        visited: set[str],
    ) -> None:
        for node in selection.selections:
            if not self._included(node):
                continue
            match node:
                case FieldNode():
                    key = node.alias.value if node.alias else node.name.value
                    fields.setdefault(key, []).append(node)
                case InlineFragmentNode():
                    condition = node.type_condition
                    if condition is None or self._applies(of, condition.name.value):
                        self._collect(of, node.selection_set, fields, visited)
                case FragmentSpreadNode():
                    name = node.name.value
                    if name not in visited:
                        visited.add(name)
                        fragment = self.fragments[name]
                        if self._applies(of, fragment.type_condition.name.value):
                            self._collect(of, fragment.selection_set, fields, visited)
                case _:  # pragma: no cover - graphql-core has no other selections
                    raise AssertionError(node)

    def _included(self, node: Any) -> bool:
        if not node.directives:
            return True
        skip = get_directive_values(GraphQLSkipDirective, node, self.variables)
        include = get_directive_values(GraphQLIncludeDirective, node, self.variables)
        return not (skip and skip["if"]) and not (include and not include["if"])

    def _applies(self, of: GraphQLObjectType, condition: str) -> bool:
        if condition == of.name:
            return True
        named = self.schema.type_map.get(condition)
        return isinstance(named, GraphQLInterfaceType | GraphQLUnionType) and self.schema.is_sub_type(named, of)


def _asked(view: View, arguments: Arguments) -> View:
    """The view of the moment that a field asks for, which holds for everything below it."""
    asked = arguments.get("asOf")
    if asked is None:
        return view
    moment = as_of(
        view,
        position=asked.get("position"),
        recorded_at=asked.get("recordedAt"),
        said_by=asked.get("saidBy"),
    )
    return view.at(moment, named=True)


def _mark(view: View, members: Iterable[Any]) -> None:
    """Let ids carry the moment that was asked for: the same claim at two moments is two objects to a cache."""
    for member in members:
        if "@" not in member.id:
            member.id = f"{member.id}@{view.as_of}"


_NO_TEXT: Final = re.compile("[\x00\ud800-\udfff]")


def _refuse_what_no_text_holds(value: Any) -> None:
    """Raises BadArgument for a string that the database could not even compare with what it holds."""
    match value:
        case str():
            if _NO_TEXT.search(value):
                raise BadArgument(f"{shown(value)} holds a NUL or half of a surrogate pair; remove it")
        case dict():
            for each in cast("dict[str, Any]", value).values():
                _refuse_what_no_text_holds(each)
        case list():
            for each in cast("list[Any]", value):
                _refuse_what_no_text_holds(each)
        case _:
            pass


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(cast("list[Any]", value))
        elif value is not None and not isinstance(value, Failure):
            yield value
