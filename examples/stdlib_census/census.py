"""Takes the census of one module from its bytes.

Promises: nothing is imported or run; the same bytes give the same census under the same
interpreter; a source that cannot be parsed raises `UnparsableError` and nothing else.

Must not know directories, shards or plans. What it counts:

- a *method* is a function whose nearest enclosing scope is a class, all others are
  *functions*; `async def` counts as one of the two, and as a coroutine as well;
- *public* is what has no leading underscore anywhere in its path and is not local to a
  function; setters, deleters and overloads repeat a name and need no docstring;
- an import is *eager* if importing the module runs it: not inside a function, and not
  under `if __name__ == ...` or `if TYPE_CHECKING`.
"""

import ast
import io
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .lines import LineCount, count_lines
from .scanner import package_of
from .tally import Census, Imports, Record, Tally, longest

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Documentable = ast.Module | ast.ClassDef | _Function
_BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody")
_REPEATING_DECORATORS = frozenset({"setter", "deleter", "overload"})


class UnparsableError(Exception):
    """The bytes are no module in this interpreter's language."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where a statement stands."""

    path: tuple[str, ...] = ()
    in_class: bool = False
    public: bool = True
    eager: bool = True

    def enter(self, definition: ast.ClassDef | _Function) -> "_Scope":
        is_class = isinstance(definition, ast.ClassDef)
        return _Scope(
            path=(*self.path, definition.name),
            in_class=is_class,
            public=is_class and self.shows(definition.name),
            eager=is_class and self.eager,
        )

    def shows(self, name: str) -> bool:
        return self.public and not name.startswith("_")


@dataclass(frozen=True, slots=True)
class _Notes:
    """What the pass over one module has counted so far; filled in place."""

    counts: Counter[str] = field(default_factory=Counter)
    docstring_rows: set[int] = field(default_factory=set)
    imports: Counter[tuple[str, bool]] = field(default_factory=Counter)
    callables: list[Record] = field(default_factory=list)


def take_census(source: bytes, path: str) -> Census:
    """Return the census of the module with these bytes, at this path of its tree."""
    text, tree = _parse(source)
    notes = _Notes()
    _note_docstring(tree, notes, "modules" if tree.body else None)
    for statement, scope in _statements(tree):
        _note(statement, scope, notes)
    tally = _tally(len(source), _count_lines(text, notes), notes)
    return Census(
        packages={package_of(path): tally},
        imports=_edges(package_of(path), notes.imports),
        largest_modules=(Record(tally.lines, path),),
        longest_callables=longest(
            Record(lines, f"{path}:{name}") for lines, name in notes.callables
        ),
    )


def _parse(source: bytes) -> tuple[str, ast.Module]:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        text = io.TextIOWrapper(io.BytesIO(source), encoding).read()
        with warnings.catch_warnings():
            # An old escape in somebody's regular expression is not our news.
            warnings.simplefilter("ignore")
            return text, ast.parse(text)
    except SyntaxError as fault:
        raise UnparsableError(_where(fault)) from fault
    except (ValueError, LookupError, RecursionError, MemoryError) as fault:
        # In this order: bytes outside the encoding, or a NUL among them; an encoding
        # that is none; and, for the last two, nesting too deep for the parser.
        raise UnparsableError(type(fault).__name__) from fault


def _where(fault: SyntaxError) -> str:
    row = f" on line {fault.lineno}" if fault.lineno else ""
    return f"{type(fault).__name__}{row}"


def _count_lines(text: str, notes: _Notes) -> LineCount:
    try:
        return count_lines(text, notes.docstring_rows)
    except (tokenize.TokenError, SyntaxError) as fault:
        # The parser and the tokenizer may disagree about what is a module.
        raise UnparsableError(type(fault).__name__) from fault


def _statements(tree: ast.Module) -> Iterator[tuple[ast.AST, _Scope]]:
    # Statements only: definitions and imports never hide in an expression, and most of
    # a tree is expressions. A stack, since sources may nest deeper than Python calls.
    waiting: list[tuple[ast.AST, _Scope]] = [(node, _Scope()) for node in tree.body]
    while waiting:
        node, scope = waiting.pop()
        yield node, scope
        inner = scope
        if isinstance(node, ast.ClassDef | _Function):
            inner = scope.enter(node)
        for block in _BLOCKS:
            here = inner
            if block == "body" and _is_not_for_importers(node):
                here = replace(inner, eager=False)
            waiting.extend((child, here) for child in getattr(node, block, ()))


def _is_not_for_importers(node: ast.AST) -> bool:
    match node:
        case ast.If(test=ast.Compare(left=ast.Name("__name__"))):
            return True
        case ast.If(test=ast.Name("TYPE_CHECKING")):
            return True
        case ast.If(test=ast.Attribute(attr="TYPE_CHECKING")):
            return True
        case _:
            return False


def _note(node: ast.AST, scope: _Scope, notes: _Notes) -> None:
    match node:
        case ast.Import(names=names):
            packages = {alias.name.partition(".")[0] for alias in names}
            notes.imports.update((package, scope.eager) for package in packages)
        case ast.ImportFrom(module=str(module), level=0):
            notes.imports[module.partition(".")[0], scope.eager] += 1
        case ast.ClassDef(name=name):
            notes.counts["classes"] += 1
            shown = scope.shows(name)
            _note_docstring(node, notes, "public_classes" if shown else None)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            _note_callable(node, scope, notes)
        case _:
            pass  # the other statements are only lines


def _note_callable(node: _Function, scope: _Scope, notes: _Notes) -> None:
    # Decorators belong to the definition, not to its length.
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    notes.counts["methods" if scope.in_class else "functions"] += 1
    notes.counts["coroutines"] += isinstance(node, ast.AsyncFunctionDef)
    notes.counts["callable_lines"] += lines
    notes.callables.append(Record(lines, ".".join((*scope.path, node.name))))
    shown = scope.shows(node.name) and not _repeats_a_name(node)
    _note_docstring(node, notes, "public_functions" if shown else None)


def _repeats_a_name(node: _Function) -> bool:
    names = {
        decorator.attr if isinstance(decorator, ast.Attribute) else decorator.id
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Attribute | ast.Name)
    }
    return not names.isdisjoint(_REPEATING_DECORATORS)


def _note_docstring(node: _Documentable, notes: _Notes, kind: str | None) -> None:
    docstring = ast.get_docstring(node, clean=False)
    if docstring is not None:
        first = node.body[0]
        end = first.end_lineno or first.lineno
        notes.docstring_rows.update(range(first.lineno, end + 1))
    if kind is not None:
        notes.counts[kind] += 1
        notes.counts[f"{kind}_documented"] += bool(docstring and docstring.strip())


def _tally(size_bytes: int, lines: LineCount, notes: _Notes) -> Tally:
    return Tally(
        files=1,
        size_bytes=size_bytes,
        code_lines=lines.code,
        docstring_lines=lines.docstring,
        comment_lines=lines.comment,
        blank_lines=lines.blank,
        **notes.counts,
    )


def _edges(
    package: str, imports: Counter[tuple[str, bool]]
) -> dict[tuple[str, str], Imports]:
    targets = {target for target, _ in imports} - {package}
    return {
        (package, target): Imports(
            all=imports[target, True] + imports[target, False],
            eager=imports[target, True],
        )
        for target in targets
    }
