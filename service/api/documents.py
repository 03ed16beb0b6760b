"""GraphQL documents: each is measured, parsed and validated once, however often it is sent."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, cast

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableNode,
    Visitor,
    get_named_type,
    parse,
    specified_rules,
    validate,
    visit,
)

from service.api.cursors import PAGE_DEFAULT, PAGE_MAX
from service.api.fields import KEPT, PAGING, Kept
from service.api.limits import Limits
from service.domain.errors import (
    IntrospectionOff,
    OnrecordError,
    TooDeep,
    TooManyAliases,
    TooManyDirectives,
    TooManyRootFields,
    TooManyTokens,
)

#: What every document is held against. Always these same classes, or no document would be known again.
RULES: Final = (*specified_rules,)
#: How many documents are remembered, and how long one of them may be: what is longer holds what belongs into variables.
_REMEMBERED_MAX: Final = 500
_REMEMBERED_CHARS_MAX: Final = 32_000
#: Of how many sizes of its pages a document's costs are kept.
_COSTS_MAX: Final = 32
#: As how many a list counts that is not paged.
_SHORT: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A document that was parsed and validated."""

    node: DocumentNode
    errors: list[GraphQLError]  #: why it is not valid.
    fragments: dict[str, FragmentDefinitionNode]
    flags: frozenset[str]  #: the variables that its directives name: they decide what is selected.
    sizes: frozenset[str]  #: those that say how much of a list is wanted.
    kept: Kept  #: how long an answer holds, at most.
    introspects: bool  #: it asks of the schema itself.
    uses: Counter[str]  #: how often it names each variable, the definition counted.
    plans: dict[Any, Any] = field(default_factory=dict[Any, Any])  #: those made of it, for `plans`.
    _costs: dict[Any, int] = field(default_factory=dict[Any, int])

    def cost(self, schema: GraphQLSchema, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> int:
        """How many objects an answer to one of its operations may hold.

        A page counts as long as it is asked for, a list that is not paged as ten; what directives leave out counts.
        """
        sizes = {name: _size(variables[name]) for name in self.sizes if name in variables}
        key = (id(operation), *sizes.items())
        known = self._costs.get(key)
        if known is None:
            if len(self._costs) >= _COSTS_MAX:
                self._costs.clear()
            known = self._costs[key] = _Pricing(schema, self.fragments, sizes).operation(operation)
        return known


def document(schema: GraphQLSchema, text: str, limits: Limits) -> Document:
    """The document with this text; `errors` says what is wrong with it. Raises GraphQLError and TooManyTokens.

    Those are raised where it cannot be parsed.
    """
    make = remembered if len(text) <= _REMEMBERED_CHARS_MAX else remembered.__wrapped__
    return make(schema, text, limits)


@lru_cache(_REMEMBERED_MAX)
def remembered(schema: GraphQLSchema, text: str, limits: Limits) -> Document:
    """The same, of documents that are not too long to be kept."""
    try:
        node = parse(text, max_lexical_tokens=limits.tokens_max, max_comments=limits.tokens_max)
    except GraphQLError as error:
        if error.message.startswith("Syntax Error: Document contains more than "):
            raise TooManyTokens(limit=limits.tokens_max) from None
        raise
    fragments = {each.name.value: each for each in node.definitions if isinstance(each, FragmentDefinitionNode)}
    looked = _Look()
    errors: list[GraphQLError] = []
    try:
        # Validation takes longer the larger a document is, and longer than that.
        _Measure(fragments, limits).take(node)
        errors = validate(schema, node, RULES, hide_suggestions=not limits.suggestions)
        if not errors:
            types = TypeInfo(schema)
            looked.types = types
            visit(node, TypeInfoVisitor(types, looked))
            if looked.introspects and not limits.introspection:
                raise IntrospectionOff
    except OnrecordError as error:
        errors = [GraphQLError(str(error), original_error=error)]
    return Document(
        node,
        errors,
        fragments,
        frozenset(looked.flags),
        frozenset(looked.sizes),
        looked.kept,
        looked.introspects,
        looked.uses,
    )


class _Measure:
    """How large a document is, before anybody looks at what it means."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode], limits: Limits) -> None:
        self._fragments, self._limits = fragments, limits
        self._depths: dict[str, int] = {}
        self._aliases = self._directives = 0

    def take(self, node: DocumentNode) -> None:
        """Raises what says that it is too large, as soon as that is seen."""
        for each in node.definitions:
            self._count_directives(each)
            if isinstance(each, OperationDefinitionNode):
                for variable in each.variable_definitions or ():
                    self._count_directives(variable)
                self._depth(each.selection_set, 1)
                if self._fields(each.selection_set, {}) > self._limits.root_fields_max:
                    raise TooManyRootFields(limit=self._limits.root_fields_max)

    def _depth(self, selections: SelectionSetNode, level: int) -> int:
        """How many selections stand in one another, a fragment's where it is spread."""
        if level > self._limits.depth_max:
            raise TooDeep(limit=self._limits.depth_max)
        below = 0
        for each in selections.selections:
            self._count_directives(each)
            if isinstance(each, FragmentSpreadNode):
                below = max(below, self._spread(each.name.value, level + 1))
                continue
            if isinstance(each, FieldNode) and each.alias is not None:
                self._aliases += 1
                if self._aliases > self._limits.aliases_max:
                    raise TooManyAliases(limit=self._limits.aliases_max)
            inner = cast("FieldNode | InlineFragmentNode", each).selection_set
            if inner is not None:
                below = max(below, self._depth(inner, level + 1))
        return below + 1

    def _spread(self, name: str, level: int) -> int:
        depth = self._depths.get(name)
        if depth is None:
            # A fragment within itself ends here; validation tells of it.
            self._depths[name] = 0
            fragment = self._fragments.get(name)
            depth = 0 if fragment is None else self._depth(fragment.selection_set, level)
            self._depths[name] = depth
        if level + depth - 1 > self._limits.depth_max:
            raise TooDeep(limit=self._limits.depth_max)
        return depth

    def _fields(self, selections: SelectionSetNode, known: dict[str, int]) -> int:
        """How many fields are selected at one place, through fragments too."""
        count = 0
        for each in selections.selections:
            match each:
                case InlineFragmentNode():
                    count += self._fields(each.selection_set, known)
                case FragmentSpreadNode():
                    name = each.name.value
                    if name not in known:
                        known[name] = 0
                        fragment = self._fragments.get(name)
                        known[name] = 0 if fragment is None else self._fields(fragment.selection_set, known)
                    count += known[name]
                case _:
                    count += 1
        return count

    def _count_directives(self, node: Any) -> None:
        self._directives += len(node.directives or ())
        if self._directives > self._limits.directives_max:
            raise TooManyDirectives(limit=self._limits.directives_max)


class _Pricing:
    """What operations of a valid document cost, for some sizes of their pages."""

    def __init__(
        self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], sizes: Mapping[str, int | None]
    ) -> None:
        self._schema, self._fragments, self._sizes = schema, fragments, sizes
        # Each fragment is priced once for each length of a page that it stands in, however often it is spread.
        self._known: dict[tuple[str, int], int] = {}

    def operation(self, operation: OperationDefinitionNode) -> int:
        root = self._schema.get_root_type(operation.operation)
        assert root is not None
        return self._selected(operation.selection_set, root, _SHORT)

    def _selected(self, selections: SelectionSetNode, of: GraphQLCompositeType, items: int) -> int:
        """What is selected of one object, lists of which hold so many `items`."""
        total = 0
        for each in selections.selections:
            match each:
                case FieldNode():
                    total += self._field(each, of, items)
                case InlineFragmentNode():
                    total += self._selected(each.selection_set, self._narrowed(each.type_condition, of), items)
                case _:
                    total += self._spread(cast(FragmentSpreadNode, each).name.value, items)
        return total

    def _spread(self, name: str, items: int) -> int:
        known = self._known.get((name, items))
        if known is None:
            fragment = self._fragments[name]
            of = cast(GraphQLCompositeType, self._schema.type_map[fragment.type_condition.name.value])
            known = self._known[name, items] = self._selected(fragment.selection_set, of, items)
        return known

    def _narrowed(self, condition: Any, of: GraphQLCompositeType) -> GraphQLCompositeType:
        return of if condition is None else cast(GraphQLCompositeType, self._schema.type_map[condition.name.value])

    def _field(self, node: FieldNode, of: GraphQLCompositeType, items: int) -> int:
        if node.selection_set is None:
            return 0
        definition = self._schema.get_field(of, node.name.value)
        assert definition is not None
        given = {each.name.value: each.value for each in node.arguments or ()}
        times = 1
        if _lists(definition):
            # The items of a page; or one for each that is asked for; or a few.
            times = next((self._asked(given.get(name), items) for name in _listing(definition)), items)
        below = self._page(given) if definition.args.keys() >= PAGING else _SHORT
        named = cast(GraphQLCompositeType, get_named_type(cast(Any, definition).type))
        return times * (1 + self._selected(node.selection_set, named, below))

    def _page(self, given: Mapping[str, Any]) -> int:
        """How many items a page has at most. One that is too long, or none, is refused when it is read."""
        asked = [self._asked(given[name], PAGE_DEFAULT) for name in ("first", "last") if name in given]
        return max(0, min(max(asked, default=PAGE_DEFAULT), PAGE_MAX))

    def _asked(self, value: Any, otherwise: int) -> int:
        """How many an argument asks for."""
        found: int | None = None
        match value:
            case IntValueNode():
                found = int(value.value)
            case ListValueNode():
                found = len(value.values)
            case VariableNode():
                found = self._sizes.get(value.name.value)
            case _:
                pass
        return otherwise if found is None else found


def _listing(definition: GraphQLField) -> Iterable[str]:
    """The arguments of a field that name, one by one, what it answers."""
    for name, argument in definition.args.items():
        if isinstance(cast(Any, argument).type, GraphQLNonNull) and _lists(argument):
            yield name


def _lists(what: Any) -> bool:
    """Whether a field or an argument is a list."""
    return isinstance(what.type, GraphQLList) or isinstance(getattr(what.type, "of_type", None), GraphQLList)


def _size(value: Any) -> int | None:
    match value:
        case int():
            return value
        case list():
            return len(cast("list[Any]", value))
        case _:
            return None


class _Look(Visitor):
    """Looks through a valid document for what is to be known of all of it."""

    types: TypeInfo

    def __init__(self) -> None:
        super().__init__()
        self.flags: set[str] = set()
        self.sizes: set[str] = set()
        self.kept = Kept.FOR_EVER
        self.introspects = False
        self.uses = Counter[str]()

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.uses[node.name.value] += 1

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        name = node.name.value
        if name.startswith("__"):
            self.introspects |= name != "__typename"
            return
        definition = self.types.get_field_def()
        stated = definition and definition.extensions.get("strawberry-definition")
        if stated:
            self.kept = min(self.kept, stated.metadata.get(KEPT, Kept.FOR_EVER))
        if definition and node.arguments:
            sizing = {"first", "last", *_listing(definition)}
            values = [each.value for each in node.arguments if each.name.value in sizing]
            self.sizes |= {each.name.value for each in values if isinstance(each, VariableNode)}

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        self.flags |= variables_in(node)


def variables_in(node: FieldNode | DirectiveNode) -> set[str]:
    """The variables that the arguments of a field or directive name."""
    found = _Variables()
    for argument in node.arguments or ():
        visit(argument, found)
    return found.names


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.names.add(node.name.value)
