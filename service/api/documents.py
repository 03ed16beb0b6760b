"""GraphQL documents: each is parsed and validated once, however often it is sent."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    TypeInfo,
    TypeInfoVisitor,
    VariableNode,
    Visitor,
    parse,
    specified_rules,
    validate,
    visit,
)

from service.api.fields import KEPT, Kept

#: What every document is held against. Always these same classes, or no document would be known again.
RULES: Final = (*specified_rules,)
#: How many documents are remembered.
_REMEMBERED_MAX: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A document that was parsed and validated."""

    node: DocumentNode
    errors: list[GraphQLError]  #: why it is not valid.
    fragments: dict[str, FragmentDefinitionNode]
    flags: frozenset[str]  #: the variables that its directives name: they decide what is selected.
    kept: Kept  #: how long an answer holds, at most.
    introspects: bool  #: it asks of the schema itself.
    uses: Counter[str]  #: how often it names each variable, the definition counted.
    plans: dict[Any, Any] = field(default_factory=dict[Any, Any])  #: those made of it, for `plans`.


@lru_cache(_REMEMBERED_MAX)
def document(schema: GraphQLSchema, text: str) -> Document:
    """The document with this text. Raises GraphQLError where it cannot be parsed."""
    node = parse(text)
    errors = validate(schema, node, RULES)
    looked = _Look()
    if not errors:
        types = TypeInfo(schema)
        looked.types = types
        visit(node, TypeInfoVisitor(types, looked))
    fragments = {each.name.value: each for each in node.definitions if isinstance(each, FragmentDefinitionNode)}
    return Document(node, errors, fragments, frozenset(looked.flags), looked.kept, looked.introspects, looked.uses)


class _Look(Visitor):
    """Looks through a valid document for what is to be known of all of it."""

    types: TypeInfo

    def __init__(self) -> None:
        super().__init__()
        self.flags: set[str] = set()
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
