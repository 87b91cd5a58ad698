"""Which operations of AWS a function of the project may come to call, found in the source alone.

A graph over functions and methods: whoever mentions a function, in a call or as a value, may call it.
Where it must guess, it guesses too much:

- a method of a class may be any override of it in a subclass;
- making an object may call all its special methods; naming a property calls its getter;
- where the type of a receiver is not known, a method may be that of any class of the project.

Only to ask whether a method `is` another one is no call of it. The last rule is not applied to the
names that built-in types have too (`get`, `keys`, `read` …): for those the receiver's type must be
found, from annotations, from what is assigned, from what a function is declared to return. An
operation is recognised by its name alone (`put_object`), whatever it is called on. What this cannot
see (a name put together at run time, a callback that is passed through an untyped parameter under a
built-in's name) is left to tests/features/test_permissions.py, which records what is called.
"""

from __future__ import annotations

import ast
import builtins
import functools
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import botocore.session
from botocore import xform_name

ROOT = Path(__file__).parents[2]

# what built-in values, streams and contexts offer under the same names
COMMON = frozenset(
    name
    for kind in (dict, list, str, bytes, bytearray, set, tuple, io.BytesIO, io.StringIO)
    for name in dir(kind)
    if not name.startswith("__")
)


@dataclass
class Module:
    name: str
    tree: ast.Module
    imports: dict[str, str] = field(default_factory=dict)  # local name -> dotted name
    functions: dict[str, ast.AST] = field(default_factory=dict)  # name or Class.name -> node
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)


class Project:
    """The modules below `folders`, and `app`."""

    def __init__(self, root: Path = ROOT, folders: tuple[str, ...] = ("chalicelib",)):
        paths = [root / "app.py", *(path for folder in folders for path in sorted((root / folder).rglob("*.py")))]
        self.modules = {
            name: Module(name, ast.parse(path.read_text())) for path in paths for name in [_name(root, path)]
        }
        for module in self.modules.values():
            self._index(module)
        self.subclasses: dict[str, set[str]] = {}
        for module in self.modules.values():
            for name, node in module.classes.items():
                for base in node.bases:
                    if (found := self._resolve(module, ast.unparse(base))) in self._all_classes:
                        self.subclasses.setdefault(found, set()).add(f"{module.name}.{name}")
        self.operations = self._operations()

    def _index(self, module: Module) -> None:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    module.imports[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    module.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef):
                module.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                module.classes[node.name] = node
                for member in node.body:
                    if isinstance(member, ast.FunctionDef):
                        module.functions[f"{node.name}.{member.name}"] = member

    @functools.cached_property
    def _all_classes(self) -> dict[str, tuple[Module, ast.ClassDef]]:
        return {f"{m.name}.{name}": (m, node) for m in self.modules.values() for name, node in m.classes.items()}

    @functools.cached_property
    def _methods(self) -> dict[str, set[str]]:
        """Method name -> the functions of that name in any class."""
        found: dict[str, set[str]] = {}
        for module in self.modules.values():
            for name in module.functions:
                if "." in name:
                    found.setdefault(name.split(".")[1], set()).add(f"{module.name}.{name}")
        return found

    def services(self) -> set[str]:
        """What `boto3.client` is called with anywhere; ValueError where that is no literal."""
        found = set()
        for module in self.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("boto3.client", "boto3.resource"):
                    if not node.args or not isinstance(node.args[0], ast.Constant):
                        raise ValueError(f"{module.name} line {node.lineno}: which service is not written there")
                    found.add(node.args[0].value)
        return found

    def _operations(self) -> dict[str, tuple[str, str]]:
        """Method of a client -> (service, operation)."""
        session = botocore.session.get_session()
        found = {}
        for service in sorted(self.services()):
            for operation in session.get_service_model(service).operation_names:
                found[xform_name(operation)] = (service, operation)
        return found

    # --- names ---------------------------------------------------------------------------

    def _resolve(self, module: Module, dotted: str) -> str:
        """The full name of a dotted name as `module` uses it."""
        first, _, rest = dotted.partition(".")
        if first in module.imports:
            full = module.imports[first]
        elif first in module.functions or first in module.classes:
            full = f"{module.name}.{first}"
        else:
            return dotted
        return self._canonical(f"{full}.{rest}" if rest else full)

    def _canonical(self, full: str, depth: int = 5) -> str:
        """Follow re-exports: `chalicelib.lake.Lake` is `chalicelib.lake.store.Lake`."""
        head, _, last = full.rpartition(".")
        if full in self.modules or not head or not depth:
            return full
        head = self._canonical(head, depth - 1)
        module = self.modules.get(head)
        if module and last not in module.functions and last not in module.classes and last in module.imports:
            return self._canonical(module.imports[last], depth - 1)
        return f"{head}.{last}"

    def _function(self, full: str) -> tuple[Module, ast.AST] | None:
        for cut in range(full.count("."), 0, -1):
            parts = full.split(".")
            module = self.modules.get(".".join(parts[:cut]))
            if module:
                node = module.functions.get(".".join(parts[cut:]))
                return (module, node) if node else None
        return None

    def _lineage(self, kind: str) -> Iterator[str]:
        """The class, its bases and everything below it, by full name."""
        module, node = self._all_classes[kind]
        yield kind
        for base in node.bases:
            if (full := self._resolve(module, ast.unparse(base))) in self._all_classes:
                yield from self._bases(full)
        yield from self._below(kind)

    def _bases(self, kind: str) -> Iterator[str]:
        module, node = self._all_classes[kind]
        yield kind
        for base in node.bases:
            if (full := self._resolve(module, ast.unparse(base))) in self._all_classes:
                yield from self._bases(full)

    def _below(self, kind: str) -> Iterator[str]:
        for sub in self.subclasses.get(kind, ()):
            yield sub
            yield from self._below(sub)

    def _method(self, kind: str, name: str) -> set[str]:
        return {f"{each}.{name}" for each in self._lineage(kind) if self._function(f"{each}.{name}")}

    # --- types ---------------------------------------------------------------------------

    def _annotated(self, module: Module, annotation: ast.AST | None) -> str | None:
        """The project's class that an annotation names, `X | None` and strings included."""
        if annotation is None:
            return None
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = ast.parse(annotation.value, mode="eval").body
        for node in ast.walk(annotation):
            if isinstance(node, ast.Name | ast.Attribute):
                full = self._resolve(module, ast.unparse(node))
                if full in self._all_classes and not isinstance(annotation, ast.Subscript):
                    return full
        return None

    def _type(self, module: Module, node: ast.AST, scope: dict[str, str]) -> str | None:
        """The project's class of an expression's value, where that can be told."""
        if isinstance(node, ast.Name):
            return scope.get(node.id)
        if isinstance(node, ast.BoolOp):
            return next(filter(None, (self._type(module, value, scope) for value in node.values)), None)
        if isinstance(node, ast.Attribute):
            owner = self._type(module, node.value, scope)
            return self._attributes(owner).get(node.attr) if owner else None
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "enter_context" and node.args:
                return self._type(module, node.args[0], scope)
            full = self._resolve(module, ast.unparse(node.func)) if _is_dotted(node.func) else ""
            if full in self._all_classes:
                return full
            found = self._function(full) if full else None
            if not found and isinstance(node.func, ast.Attribute):
                owner = self._type(module, node.func.value, scope)
                found = (
                    next((self._function(each) for each in self._method(owner, node.func.attr)), None)
                    if owner
                    else None
                )
            if found:
                return self._annotated(found[0], found[1].returns)
        return None

    @functools.cache  # noqa: B019
    def _attributes(self, kind: str) -> dict[str, str]:
        """Attribute -> class, from annotations in the body and assignments to self in its methods."""
        found: dict[str, str] = {}
        for each in self._bases(kind):
            module, node = self._all_classes[each]
            for member in node.body:
                if isinstance(member, ast.AnnAssign) and (named := self._annotated(module, member.annotation)):
                    found.setdefault(ast.unparse(member.target), named)
                elif isinstance(member, ast.FunctionDef):
                    if _is_property(member) and (named := self._annotated(module, member.returns)):
                        found.setdefault(member.name, named)
                    scope = self._parameters(module, member, None)
                    for target, value in _assignments(member):
                        own = isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self"
                        if own and (named := self._type(module, value, scope)):
                            found.setdefault(target.attr, named)
        return found

    def _parameters(self, module: Module, node: ast.FunctionDef, owner: str | None) -> dict[str, str]:
        scope = {"self": owner} if owner else {}
        for nested in ast.walk(node):
            if isinstance(nested, ast.FunctionDef):
                given = nested.args
                for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
                    if named := self._annotated(module, argument.annotation):
                        scope[argument.arg] = named
        return scope

    # --- calls ---------------------------------------------------------------------------

    @functools.cache  # noqa: B019
    def mentions(self, function: str) -> tuple[frozenset[str], frozenset[str]]:
        """(functions it mentions, methods of clients it mentions), by full name of a function."""
        module, node = self._function(function)
        owner = function.removeprefix(module.name + ".").rpartition(".")[0]
        scope = self._parameters(module, node, f"{module.name}.{owner}" if owner else None)
        for _ in range(2):  # an assignment may stand on one before it
            for target, value in _assignments(node):
                if isinstance(target, ast.Name) and (named := self._type(module, value, scope)):
                    scope[target.id] = named
        local = {
            alias.asname or alias.name: f"{found.module}.{alias.name}"
            for found in ast.walk(node)
            if isinstance(found, ast.ImportFrom)
            for alias in found.names
        }
        functions: set[str] = set()
        calls: set[str] = set()
        compared = _compared(node)
        for found in ast.walk(node):
            if found in compared:
                continue
            # get_paginator("list_objects_v2"); a single word, such as "publish", is one of ours
            if isinstance(found, ast.Constant) and found.value in self.operations and "_" in found.value:
                calls.add(found.value)
            if isinstance(found, ast.Name) and found.id in local:
                functions |= self._entry(self._canonical(local[found.id]))
            elif isinstance(found, ast.Name | ast.Attribute) and _is_dotted(found):
                functions |= self._entry(self._resolve(module, ast.unparse(found)))
            if isinstance(found, ast.Attribute):
                # `ledger.publish` is a function of ours, not SNS's operation
                ours = _is_dotted(found) and self._function(self._resolve(module, ast.unparse(found)))
                if found.attr in self.operations and not ours:
                    calls.add(found.attr)
                kind = self._type(module, found.value, scope)
                if kind:
                    functions |= self._method(kind, found.attr)
                elif found.attr not in COMMON and not self._is_module(module, found.value):
                    functions |= self._methods.get(found.attr, set())
        return frozenset(functions - {function}), frozenset(calls)

    def _is_module(self, module: Module, node: ast.AST) -> bool:
        """Whether an expression is an imported module or a class, whose attributes are known by full name."""
        if not _is_dotted(node):
            return False
        full = self._resolve(module, ast.unparse(node))
        return ast.unparse(node).split(".")[0] in module.imports or full in self._all_classes

    def _entry(self, full: str) -> set[str]:
        """What naming `full` may run: the function, or of a class all that runs without being named."""
        if full in self._all_classes:
            return {
                f"{each}.{name.split('.')[1]}"
                for each in self._bases(full)
                for name in self._all_classes[each][0].functions
                if name.startswith(each.rpartition(".")[2] + ".__")
            }
        return {full} if self._function(full) else set()

    def reachable(self, function: str) -> set[str]:
        """All functions that `function` may come to call, itself included."""
        found, waiting = set(), [function]
        while waiting:
            if (name := waiting.pop()) not in found:
                found.add(name)
                waiting += self.mentions(name)[0]
        return found

    def calls(self, function: str) -> set[tuple[str, str]]:
        """All (service, operation) that `function` may come to call."""
        return {self.operations[call] for each in self.reachable(function) for call in self.mentions(each)[1]}


def _name(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _is_dotted(node: ast.AST) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and not hasattr(builtins, node.id)


def _is_property(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("property") for decorator in node.decorator_list)


def _compared(node: ast.AST) -> set[ast.AST]:
    """The operands of `is` and `is not`."""
    return {
        operand
        for found in ast.walk(node)
        if isinstance(found, ast.Compare) and isinstance(found.ops[0], ast.Is | ast.IsNot)
        for operand in (found.left, *found.comparators)
    }


def _assignments(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """(target, value), tuples taken apart, `with … as` and `:=` included."""
    for found in ast.walk(node):
        if isinstance(found, ast.Assign):
            for target in found.targets:
                if isinstance(target, ast.Tuple) and isinstance(found.value, ast.Tuple):
                    yield from zip(target.elts, found.value.elts, strict=False)
                else:
                    yield target, found.value
        elif isinstance(found, ast.NamedExpr):
            yield found.target, found.value
        elif isinstance(found, ast.withitem) and found.optional_vars is not None:
            yield found.optional_vars, found.context_expr
