"""Plans: an operation is compiled once into what is to be loaded for it, and how that is written.

A plan is of the objects of one type at one place of an answer. It answers each of
its fields for all of these objects at once: a column. A field that needs the
database names a loader, which gets every parent of its level; the others are read
off the rows. So the number of statements depends on the document alone, never on
how many rows a page has, and nothing is fetched that is not selected.

A compiled plan writes the answer, or raises Unwritten where a value fails or null
stands where it may not. The other kind is for GraphQL's own interpreter: it keeps
every value that the interpreter will ask for, failures among them, and the
interpreter makes the answer of that. So there is one way to load, and two to write.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Any, Final, cast

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLIncludeDirective,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    GraphQLUnionType,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    get_argument_values,
    get_directive_values,
    get_operation_ast,
)

from service.api.coercing import coerced
from service.api.documents import Document, document, variables_in
from service.api.fields import LOAD, NEEDS, READS, ROWS, STREAM, Arguments, Dated, Failure, Loader
from service.api.limits import Limits
from service.domain.article import shown
from service.domain.errors import BadArgument, MethodNotAllowed, OnrecordError, TooCostly
from service.domain.scopes import Scope
from service.queries.snapshot import AsOf, View, as_of

#: Of how many ways to answer one document the plans are kept: its operations, and what their directives leave.
_PLANS_MAX: Final = 32


class Unwritten(Exception):
    """The answer holds what a compiled plan does not write, so the interpreter makes it."""


class Told(dict[str, Any]):
    """What is known of one object, for the interpreter: the values of its fields by response key."""

    def __init__(self, of: str, values: Iterable[tuple[str, Any]]) -> None:
        super().__init__(values)
        self.of = of  #: the name of its type.


class Invalid(Exception):
    """A request that cannot be begun, with all that is wrong with it."""

    def __init__(self, errors: Sequence[GraphQLError], *, parsed: bool = True) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors
        self.parsed = parsed  #: whether its document could be parsed.


@dataclass(frozen=True, slots=True)
class Sent:
    """An operation as it was sent."""

    query: str
    variables: dict[str, Any] | None = None
    name: str | None = None
    reads_only: bool = False  #: it came in a way by which nothing may be changed.


@dataclass(frozen=True, slots=True)
class Request:
    """An operation of a document, with its variables as graphql-core coerced them."""

    schema: GraphQLSchema
    document: Document
    operation: OperationDefinitionNode
    variables: Any
    cost: int  #: how many objects its answer may hold.

    @classmethod
    def of(cls, schema: GraphQLSchema, sent: Sent, limits: Limits) -> "Request":
        """What is asked. Raises Invalid, and MethodNotAllowed for a change where nothing may be changed."""
        try:
            known = document(schema, sent.query, limits)
        except (GraphQLError, OnrecordError) as error:
            raise Invalid([_located(error)], parsed=False) from None
        if known.errors:
            raise Invalid(known.errors)
        operation = get_operation_ast(known.node, sent.name)
        if operation is None:
            why = "it is not clear which operation of the document is meant; say so by operationName"
            raise Invalid([_located(BadArgument(why))])
        if sent.reads_only and operation.operation is OperationType.MUTATION:
            raise MethodNotAllowed("nothing is changed by GET; send mutations by POST", allowed="POST")
        definitions = operation.variable_definitions or ()
        given = coerced(schema, definitions, sent.variables or {}, hide_suggestions=not limits.suggestions)
        if isinstance(given, list):
            raise Invalid(given)
        cost = known.cost(schema, operation, given.coerced)
        if cost > limits.cost_max:
            raise Invalid([_located(TooCostly(cost=cost, limit=limits.cost_max))])
        return cls(schema, known, operation, given, cost)

    def plan(self, *, compiled: bool) -> "Plan":
        """How it is answered. Raises Unwritten, as plans do."""
        plans = self.document.plans
        flags = {name: value for name, value in self.variables.coerced.items() if name in self.document.flags}
        key = (id(self.operation), compiled, *flags.items())
        known = plans.get(key)
        if known is None:
            if len(plans) >= _PLANS_MAX:
                plans.clear()
            root = self.schema.get_root_type(self.operation.operation)
            assert root is not None
            # Not with all variables: plans are kept, and what is selected depends on no other.
            making = _Operation(self.schema, self.document, self.variables._replace(coerced=flags), compiled)
            known = plans[key] = Plan(making, root, [self.operation.selection_set])
        return known


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation being compiled."""

    schema: GraphQLSchema
    document: Document
    flags: Any  #: the variables that its directives name.
    compiled: bool

    def collect(self, of: GraphQLObjectType, selections: Iterable[SelectionSetNode]) -> dict[str, list[FieldNode]]:
        """The fields selected of a type, by response key, each with its nodes in document order."""
        fields: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        for selection in selections:
            self._collect(of, selection, fields, visited)
        return fields

    def _collect(
        self, of: GraphQLObjectType, selection: SelectionSetNode, fields: dict[str, list[FieldNode]], visited: set[str]
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
                        fragment = self.document.fragments[name]
                        if self._applies(of, fragment.type_condition.name.value):
                            self._collect(of, fragment.selection_set, fields, visited)
                case _:  # pragma: no cover - graphql-core has no other selections
                    raise AssertionError(node)

    def _included(self, node: Any) -> bool:
        if not node.directives:
            return True
        skip = get_directive_values(GraphQLSkipDirective, node, self.flags)
        if skip and skip["if"]:
            return False
        include = get_directive_values(GraphQLIncludeDirective, node, self.flags)
        return not (include and not include["if"])

    def _applies(self, of: GraphQLObjectType, condition: str) -> bool:
        if condition == of.name:
            return True
        named = self.schema.type_map.get(condition)
        return isinstance(named, GraphQLInterfaceType | GraphQLUnionType) and self.schema.is_sub_type(named, of)


class Plan:
    """What is selected of the objects of one type, at one place of a document."""

    def __init__(self, operation: _Operation, of: GraphQLObjectType, selections: Iterable[SelectionSetNode]) -> None:
        self._of, self._compiled = of.name, operation.compiled
        self.fields: dict[str, Field] = {}
        try:
            selected = operation.collect(of, selections)
        except GraphQLError:
            if operation.compiled:
                raise Unwritten from None
            selected = {}  # The interpreter says what is wrong with the directives, once it comes to them.
        for key, nodes in selected.items():
            name = nodes[0].name.value
            if name in of.fields:
                self.fields[key] = Field(operation, of, of.fields[name], nodes)
            elif name == "__typename" and operation.compiled:
                self.fields[key] = _Typename(of.name)
            # Whatever else begins so is asked of the schema, and the interpreter's.

    @cached_property
    def _object(self) -> Callable[..., dict[str, Any]]:
        return _maker(list(self.fields))

    @cached_property
    def shown(self) -> frozenset[str] | None:
        """The attributes that its fields show of the rows, and of what the rows hold; None: maybe all."""
        return _together(field.shown for field in self.fields.values() if field.loader is None)

    def write(self, view: View | None, variables: Any, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """What is selected of each of the rows. Raises Unwritten, if it is compiled.

        Without a view, what needs one is null.
        """
        columns = [field.column(view, variables, rows) for field in self.fields.values()]
        assert {len(rows)}.issuperset(map(len, columns))
        if self._compiled:
            return list(map(self._object, *columns)) if columns else [{} for _ in rows]
        answers = zip(*columns, strict=True) if columns else [()] * len(rows)
        return [Told(self._of, zip(self.fields, values, strict=True)) for values in answers]


class Field:
    """A field that is selected of a type."""

    def __init__(
        self, operation: _Operation, of: GraphQLObjectType, definition: GraphQLField, nodes: Sequence[FieldNode]
    ) -> None:
        stated = definition.extensions["strawberry-definition"]
        self._operation, self._definition, self._node = operation, definition, nodes[0]
        self.loader: Loader | None = stated.metadata.get(LOAD)
        #: How the stream begins, if it is one.
        self.begin: Callable[[View, Arguments], Any] | None = stated.metadata.get(STREAM)
        how = _how(of, stated.python_name)
        self._reads = frozenset(how.split(".")) if isinstance(how, str) else frozenset[str]()
        #: Which scope it needs: a mutation says so, and all else is reading.
        self.needs: Scope = stated.metadata.get(NEEDS, Scope.READ)
        self._read = reader(of, stated.python_name)
        self._marked = stated.python_name == "id" and is_node(of)
        self._required, of_value = _nullability(cast(Any, definition).type)
        self._listed = isinstance(of_value, GraphQLList)
        self._required_items, of_value = _nullability(of_value.of_type if self._listed else of_value)
        self._named: Any = of_value
        #: The names of an enum's values.
        self._names: dict[Any, str] | None = None
        if isinstance(of_value, GraphQLEnumType):
            # By plain strings, which are found at once, as what is stored is one; an enum's would be compared.
            self._names = {
                str(each.value) if isinstance(each.value, str) else each.value: name
                for name, each in of_value.values.items()
            }
        self._below = [node.selection_set for node in nodes if node.selection_set is not None]
        self._plans: dict[str, Plan] = {}
        # Arguments without variables are the same in every request.
        self._constant = None if variables_in(nodes[0]) else self._coerced(None)

    def arguments(self, variables: Any) -> Arguments | GraphQLError:
        """Its arguments, or what is wrong with them."""
        return self._coerced(variables) if self._constant is None else self._constant

    def _coerced(self, variables: Any) -> Arguments | GraphQLError:
        try:
            return get_argument_values(self._definition, self._node, variables)
        except GraphQLError as error:
            return error

    def asked(self, variables: Any) -> Arguments:
        """Its arguments. Raises what is wrong with them."""
        arguments = self.arguments(variables)
        if isinstance(arguments, GraphQLError):
            raise arguments
        _refuse_what_no_text_holds(arguments)
        return arguments

    def variable(self, argument: str) -> str | None:
        """The variable that gives an argument."""
        given = {each.name.value: each.value for each in self._node.arguments or ()}.get(argument)
        return given.name.value if isinstance(given, VariableNode) else None

    def position_asked(self, variables: Any) -> int | None:
        """The position that it is asked as of, if it names one."""
        arguments = self.arguments(variables)
        asked: dict[str, Any] = {} if isinstance(arguments, GraphQLError) else arguments.get("asOf") or {}
        return asked.get("position")

    @cached_property
    def shown(self) -> frozenset[str] | None:
        """The attributes that are shown of what it reads or loads, whatever row they are of; None: maybe all."""
        if not self._below:
            return self._reads
        if not isinstance(self._named, GraphQLObjectType):
            return None
        return _together((self._reads, self._plan(self._named.name).shown))

    def column(self, view: View | None, variables: Any, rows: Sequence[Any]) -> Sequence[Any]:
        """Its value for each of the rows."""
        if self.loader is None:
            values = self._values_read(view, rows)
        else:
            view, values = self._values_loaded(self.loader, view, variables, rows)
        if self._below:
            values = self._objects(view, variables, values)
        elif self._names is not None and self._operation.compiled:
            names = self._names
            values = [None if value is None else names[value] for value in values]
        if self._operation.compiled and self._required and None in values:
            raise Unwritten
        return values

    # --- values ---------------------------------------------------------------------

    def _values_read(self, view: View | None, rows: Sequence[Any]) -> Sequence[Any]:
        try:
            values = list(map(self._read, rows))
        except Exception:  # noqa: BLE001 - which row it is of, and what becomes of the others, is seen one by one
            if self._operation.compiled:
                raise Unwritten from None
            values = [self._read_or_fail(row) for row in rows]
        if self._marked and view is not None and view.named:
            # The same claim at two moments is two objects to a cache.
            values = [f"{value}@{view.as_of}" for value in values]
        return values

    def _read_or_fail(self, row: Any) -> Any:
        try:
            return self._read(row)
        except Exception as error:  # noqa: BLE001 - it is told where the field is
            return Failure(error)

    def _values_loaded(
        self, loader: Loader, view: View | None, variables: Any, rows: Sequence[Any]
    ) -> tuple[View | None, Sequence[Any]]:
        if view is None:
            return None, [None] * len(rows)
        values: Sequence[Any]
        try:
            arguments = self.asked(variables)
            view = _asked(view, arguments)
            values = loader(replace(view, shown=self.shown), rows, arguments)
        except (GraphQLError, OnrecordError) as error:
            values = [Failure(error)] * len(rows)
        if self._operation.compiled and Failure in set(map(type, values)):
            raise Unwritten
        return view, values

    # --- objects --------------------------------------------------------------------

    def _objects(self, view: View | None, variables: Any, values: Sequence[Any]) -> Sequence[Any]:
        """What is selected of the objects that are its values."""
        if not self._listed:
            if set(map(type, values)).isdisjoint(_NOTHING):
                return self.write(view, variables, values)
            found = [value for value in values if not _is_nothing(value)]
            written = iter(self.write(view, variables, found))
            return [value if _is_nothing(value) else next(written) for value in values]
        lists: list[list[Any]] = [value for value in values if not _is_nothing(value)]
        found = [row for rows in lists for row in rows if row is not None]
        if self._operation.compiled and self._required_items and len(found) < sum(map(len, lists)):
            raise Unwritten
        written = self.write(view, variables, found)
        if len(lists) == len(values) and len(found) == sum(map(len, lists)):
            ends = list(accumulate(map(len, lists), initial=0))
            return [written[begin:end] for begin, end in pairwise(ends)]
        coming = iter(written)
        return [
            value if _is_nothing(value) else [None if row is None else next(coming) for row in value]
            for value in values
        ]

    def write(self, view: View | None, variables: Any, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """What is selected of these objects, which are its values."""
        if not rows:
            return []
        kinds = set(map(type, rows))
        if isinstance(self._named, GraphQLObjectType) and kinds.isdisjoint((Dated,)):
            return self._plan(self._named.name).write(view, variables, rows)
        # What was read as of another moment goes on as of that; and each type has fields of its own.
        groups: dict[tuple[AsOf | None, bool | None, str], list[int]] = {}
        bare: list[Any] = []
        for i, row in enumerate(rows):
            as_of, named, row = row if isinstance(row, Dated) else (None, None, row)
            bare.append(row)
            groups.setdefault((as_of, named, type_name(self._named, row)), []).append(i)
        written: list[Any] = [None] * len(rows)
        for (as_of, named, name), members in groups.items():
            then = view if view is None or as_of is None else view.at(as_of, named=named)
            answers = self._plan(name).write(then, variables, [bare[i] for i in members])
            for i, answer in zip(members, answers, strict=True):
                written[i] = answer
        return written

    def _plan(self, name: str) -> Plan:
        plan = self._plans.get(name)
        if plan is None:
            # Only now: a document may name far more than there is to answer.
            of = cast("GraphQLObjectType", self._operation.schema.type_map[name])
            plan = self._plans[name] = Plan(self._operation, of, self._below)
        return plan


class _Typename(Field):
    """The name of the type itself."""

    def __init__(self, name: str) -> None:
        self.loader = None
        self.shown = frozenset()
        self._name = name

    def column(self, view: View | None, variables: Any, rows: Sequence[Any]) -> Sequence[Any]:
        return [self._name] * len(rows)


def _maker(keys: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """A function that takes a value for each of these response keys, and gives the object.

    Python makes a dictionary whose keys stand in its source several times as quickly as one from pairs.
    """
    names = [f"v{i}" for i in range(len(keys))]
    pairs = ", ".join(f"{key!r}: {name}" for key, name in zip(keys, names, strict=True))
    # Response keys are names in the grammar of GraphQL: letters, digits and underscores.
    return eval(f"lambda {', '.join(names)}: {{{pairs}}}")


def reader(of: GraphQLObjectType, name: str) -> Callable[[Any], Any]:
    """How a type's field is read off a row."""
    how = _how(of, name)
    return attrgetter(how) if isinstance(how, str) else how


def _how(of: GraphQLObjectType, name: str) -> str | Callable[[Any], Any]:
    return getattr(of.extensions["strawberry-definition"].origin, READS, {}).get(name, name)


def _together(shown: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    names: frozenset[str] = frozenset()
    for each in shown:
        if each is None:
            return None
        names |= each
    return names


def is_node(of: GraphQLObjectType) -> bool:
    """Whether objects of this type have an id that holds across the API."""
    return any(each.name == "Node" for each in of.interfaces)


def type_name(named: Any, row: Any) -> str:
    """The name of the type of a row, where it may be of several."""
    if isinstance(named, GraphQLObjectType):
        return named.name
    kind = cast("type[Any]", type(row))
    return (ROWS.get(kind) or cast(Any, kind).__strawberry_definition__).name


def _located(error: Exception) -> GraphQLError:
    return error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)


_NOTHING: Final = (type(None), Failure)


def _is_nothing(value: Any) -> bool:
    return type(value) in _NOTHING


def _nullability(of: Any) -> tuple[bool, Any]:
    """Whether null may not stand there, and the type within."""
    return (True, cast(Any, of).of_type) if isinstance(of, GraphQLNonNull) else (False, of)


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
