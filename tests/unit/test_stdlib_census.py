"""The example census counts right, resumes right, and tells it the same way each time.

Sources are written by hand, so every expected number can be counted on fingers.
"""

import json
import random
import sys
import sysconfig
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from stdlib_census import actions, scanner, shard
from stdlib_census.census import UnparsableError, take_census
from stdlib_census.importgraph import find_knots, read_imports
from stdlib_census.library import LeftOut, Library
from stdlib_census.lines import LineCount, count_lines
from stdlib_census.markdown import code, listing, plain
from stdlib_census.picture import BARS, HEIGHT, WIDTH, draw
from stdlib_census.publishing import publish, write_whole
from stdlib_census.report import write_report
from stdlib_census.scanner import SourceFile, deal, find_sources
from stdlib_census.shard import FILES_PER_STAGE, Stage, advance, join_shards, resume
from stdlib_census.survey import Survey, read_survey
from stdlib_census.tally import (
    KEPT_FAILURES,
    KEPT_RECORDS,
    Census,
    Imports,
    Record,
    Tally,
    merge,
)

from execution import Plan
from execution.actions import registry

PLAN = Path(__file__).parents[2] / "examples/stdlib_census/plan.yaml"
SVG = "{http://www.w3.org/2000/svg}"


def plant(root: Path, sources: Mapping[str, str | bytes]) -> Path:
    """Write a library tree; its sources are dedented."""
    for path, source in sources.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        text = dedent(source).encode() if isinstance(source, str) else source
        place.write_bytes(text)
    return root


def census_of(source: str | bytes, path: str = "mod.py") -> Census:
    text = dedent(source).encode() if isinstance(source, str) else source
    return take_census(text, path)


def tally_of(source: str | bytes) -> Tally:
    return census_of(source).packages["mod"]


def imports_of(source: str, path: str = "mod.py") -> dict[str, Imports]:
    return {target: n for (_, target), n in census_of(source, path).imports.items()}


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def run_shard(root: Path, files: list[str]) -> list[Stage]:
    """Return every stage of a shard, the first and the last included."""
    stages = [resume(files, {})]
    while not stages[-1].finished:
        stages.append(advance(stages[-1], root))
    return stages


def run_census(root: str, shards: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the plan hands to its report: the library and its census."""
    scan = through_json(scanner.describe(root, shards))
    parts = [
        run_shard(Path(scan["library"]["root"]), part["files"])[-1].census.to_json()
        for part in scan["shards"]
    ]
    return scan["library"], through_json(join_shards(through_json(parts)))


def survey_of(census: Census, **about: Any) -> Survey:
    library = Library(
        root="/tree",
        python="CPython 3.12.1",
        own=True,
        packages=tuple(census.packages),
        sourceless=("sys",),
        left_out=(),
    )
    library = replace(library, **about)
    return read_survey(through_json(library.to_json()), through_json(census.to_json()))


class TestLines:
    def test_every_line_is_of_one_kind(self) -> None:
        text = dedent('''\
            """Doc.

            More doc.
            """
            # comment

            x = """
            # no comment

            """  # on a line of code
            ''')

        assert count_lines(text, {1, 2, 3, 4}) == LineCount(
            code=4, docstring=4, comment=1, blank=1
        )

    def test_code_beside_a_docstring_makes_the_line_code(self) -> None:
        assert count_lines('"Doc."; x = 1\n', {1}) == LineCount(1, 0, 0, 0)

    def test_an_f_string_over_several_lines_is_code(self) -> None:
        text = 'x = f"""\n# {1}\n\n"""\n'

        assert count_lines(text, frozenset()) == LineCount(4, 0, 0, 0)

    def test_a_comment_inside_brackets_is_a_comment(self) -> None:
        text = "x = [\n    # why\n\n    1,\n]\n"

        assert count_lines(text, frozenset()) == LineCount(3, 0, 1, 1)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", LineCount(0, 0, 0, 0)),
            ("\n\n", LineCount(0, 0, 0, 2)),
            ("# last line without an end", LineCount(0, 0, 1, 0)),
            ("x = 1\n\x0c\ny = 2", LineCount(2, 0, 0, 1)),
        ],
    )
    def test_line_ends(self, text: str, expected: LineCount) -> None:
        assert count_lines(text, frozenset()) == expected


class TestDefinitions:
    def test_functions_methods_and_coroutines(self) -> None:
        tally = tally_of("""
            def one(): pass
            async def two(): pass
            class A:
                def three(self): pass
                async def four(self): pass
                class B:
                    if True:
                        def five(self):
                            def six(): pass
                            class C:
                                def seven(self): pass
            """)

        assert (tally.classes, tally.functions, tally.methods) == (3, 3, 4)
        assert tally.coroutines == 2

    @pytest.mark.parametrize(
        "statement",
        [
            "if x:\n    {}\n",
            "if x:\n    pass\nelse:\n    {}\n",
            "for x in y:\n    {}\nelse:\n    pass\n",
            "while x:\n    pass\nelse:\n    {}\n",
            "with x:\n    {}\n",
            "try:\n    pass\nexcept E:\n    {}\n",
            "try:\n    pass\nfinally:\n    {}\n",
            "try:\n    pass\nexcept* E:\n    pass\nelse:\n    {}\n",
            "match x:\n    case 1:\n        {}\n",
        ],
    )
    def test_no_block_hides_a_definition(self, statement: str) -> None:
        assert tally_of(statement.format("def f(): import os")).functions == 1

    def test_a_length_counts_from_def_to_the_last_line(self) -> None:
        census = census_of("""
            @decorated(
                1
            )
            def long(
                a,
            ):

                return a
            class A:
                def short(self): pass
            """)

        tally = census.packages["mod"]
        assert (tally.callable_lines, tally.lines_per_callable) == (6, 3.0)
        assert census.longest_callables == (
            Record(5, "mod.py:long"),
            Record(1, "mod.py:A.short"),
        )

    def test_deep_nesting_needs_no_deep_stack(self) -> None:
        depth = 90  # the language allows 100 levels of indentation
        rows = [f"{' ' * n}class C{n}:" for n in range(depth)] + [" " * depth + "pass"]

        assert tally_of("\n".join(rows)).classes == depth


class TestDocstrings:
    def test_public_things_are_counted_by_kind(self) -> None:
        tally = tally_of('''
            """Module."""
            class A:
                """Class."""
                def told(self):
                    """Method."""
                def untold(self): pass
                def _private(self):
                    """No matter."""
                def __init__(self): pass
            class _Hidden:
                def inside(self): pass
            class B: pass
            async def told():
                "Function."
                def local():
                    """No matter."""
            ''')

        assert (tally.modules, tally.modules_documented) == (1, 1)
        assert (tally.public_classes, tally.public_classes_documented) == (2, 1)
        assert (tally.public_functions, tally.public_functions_documented) == (3, 2)
        assert tally.coverage == 4 / 6

    def test_a_name_that_is_repeated_needs_one_docstring(self) -> None:
        tally = tally_of('''
            class A:
                @property
                def x(self):
                    """The x."""
                @x.setter
                def x(self, value): pass
                @x.deleter
                def x(self): pass
                @overload
                def f(self): ...
                @typing.overload
                def f(self, a): ...
                @cached(1)
                def f(self, a=None): ...
            ''')

        assert (tally.public_functions, tally.public_functions_documented) == (2, 1)

    def test_docstring_lines_are_counted_also_where_nothing_is_public(self) -> None:
        tally = tally_of('''
            def _f():
                """One.

                Three."""
                def g():
                    "One."
            ''')

        assert tally.docstring_lines == 4
        assert (tally.code_lines, tally.blank_lines) == (2, 1)

    def test_a_blank_docstring_documents_nothing(self) -> None:
        assert tally_of('"""  """\n').modules_documented == 0

    def test_an_empty_module_needs_none(self) -> None:
        for source in ("", "# only a comment\n"):
            tally = tally_of(source)

            assert (tally.files, tally.modules, tally.coverage) == (1, 0, None)

    def test_bytes_are_no_docstring(self) -> None:
        assert tally_of('b"""Not a docstring."""\n').modules_documented == 0


class TestImports:
    def test_statements_count_once_a_package(self) -> None:
        imports = imports_of("""
            import os.path, os, sys as system
            import os
            from collections.abc import Mapping, Set
            """)

        assert imports == {
            "os": Imports(2, 2),
            "sys": Imports(1, 1),
            "collections": Imports(1, 1),
        }

    def test_a_package_does_not_import_itself(self) -> None:
        source = """
            from . import a
            from .b import c
            from .. import d
            import pkg.e
            from pkg import f
            from other import g
            """

        assert imports_of(source, "pkg/sub/mod.py") == {"other": Imports(1, 1)}

    def test_what_waits_is_not_eager(self) -> None:
        imports = imports_of("""
            if TYPE_CHECKING:
                import a
            elif x:
                import b
            if typing.TYPE_CHECKING:
                import a
            if __name__ == "__main__":
                import a
            else:
                import b
            try:
                import b
            except ImportError:
                import b
            def f():
                import a
                class Local:
                    import a
            class A:
                import b
                def g(self):
                    import a
            """)

        assert imports == {"a": Imports(6, 0), "b": Imports(5, 5)}

    def test_future_imports_are_imports(self) -> None:
        source = "from __future__ import annotations\n"

        assert imports_of(source) == {"__future__": Imports(1, 1)}


class TestSources:
    def test_encoding_cookie(self) -> None:
        source = "# -*- coding: latin-1 -*-\nx = 'ü'\n".encode("latin-1")

        assert tally_of(source).code_lines == 1

    def test_byte_order_mark_and_windows_line_ends(self) -> None:
        tally = tally_of(b"\xef\xbb\xbfx = 1\r\n\r\n# c\r\n")

        assert (tally.code_lines, tally.blank_lines, tally.comment_lines) == (1, 1, 1)
        assert tally.size_bytes == 17

    def test_an_old_escape_warns_nobody(self) -> None:
        assert tally_of(b"x = '\\d'\n").code_lines == 1

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            (b"def f(:\n", "SyntaxError on line 1"),
            (b"x = 1\n  y = 2\n", "IndentationError on line 2"),
            (b"print 'no more'\n", "SyntaxError on line 1"),
            (b"x = '\xff'\n", ""),
            (b"# coding: utf-8\n# \xe9t\xe9\n", ""),
            (b"# coding: no-such-thing\n", "SyntaxError"),
            (b"# coding: hex\n", "LookupError"),
            (b"x = 1\0\n", ""),
            (b"(" * 5000 + b")" * 5000, ""),
            (b"-" * 200_000 + b"1", ""),
        ],
    )
    def test_what_does_not_parse_says_why(self, source: bytes, reason: str) -> None:
        with pytest.raises(UnparsableError) as caught:
            take_census(source, "mod.py")

        assert str(caught.value).startswith(reason)
        assert str(caught.value)

    @pytest.mark.skipif(
        sys.version_info >= (3, 12), reason="from 3.12 on, both are the same code"
    )
    def test_parser_and_tokenizer_may_disagree(self) -> None:
        with pytest.raises(UnparsableError, match="IndentationError"):
            take_census(b"if 1:\n  x\n \\\n\n", "mod.py")


class TestTally:
    def test_a_census_survives_json(self) -> None:
        census = Census(
            packages={"b": Tally(files=1, code_lines=7), "a": Tally(failed_files=1)},
            imports={("b", "a"): Imports(2, 1), ("b", "sys"): Imports(1, 1)},
            largest_modules=(Record(7, "b.py"),),
            longest_callables=(Record(3, "b.py:f"),),
            failures=(("a.py", "SyntaxError on line 1"),),
        )

        assert Census.from_json(through_json(census.to_json())) == census

    def test_json_of_other_columns_is_refused(self) -> None:
        data = Census(packages={"a": Tally()}).to_json()
        data["packages"]["a"].append(1)

        with pytest.raises(ValueError, match="zip"):
            Census.from_json(data)

    @pytest.mark.parametrize("seed", range(20))
    def test_any_split_gives_the_same_census(self, seed: int) -> None:
        rng = random.Random(seed)  # nothing secret
        parts = [
            census_of(
                f"import x{n % 5}\ndef f{n}():" + n % 9 * "\n    1" + "\n    2", path
            )
            for n, path in enumerate(f"p{n % 7}/m{n}.py" for n in range(60))
        ]
        whole = merge(parts)

        rng.shuffle(parts)
        cut = rng.randrange(len(parts))

        assert merge([merge(parts[:cut]), merge(parts[cut:])]) == whole
        assert len(whole.largest_modules) == KEPT_RECORDS
        assert whole.total.files == 60

    def test_nothing_has_no_averages(self) -> None:
        total = Census().total

        assert (total.coverage, total.lines_per_callable) == (None, None)


class TestScanner:
    def test_only_the_library_is_counted(self, tmp_path: Path) -> None:
        root = plant(
            tmp_path,
            {
                "alone.py": "x = 1\n",
                "pkg/__init__.py": "",
                "pkg/sub/deep.py": "",
                "pkg/data.txt": "",
                "pkg/tests/test_it.py": "1\n",
                "pkg/sub/idle_test/x.py": "",
                "test/__init__.py": "",
                "test/badsyntax.py": "def(\n",
                "site-packages/six.py": "",
                "pkg/__pycache__/deep.py": "",
                "_sysconfigdata__linux.py": "",
                "sitecustomize.py": "",
                "config-3.12/python-config.py": "",
                "no_package/script.py": "",
                "pkg/2to3.py": "",
            },
        )

        tree = find_sources(root)

        paths = [source.path for source in tree.files]
        assert paths == ["alone.py", "pkg/__init__.py", "pkg/sub/deep.py"]
        assert tree.packages == ("alone", "pkg")
        assert tree.left_out == (
            LeftOut(scanner.SCRIPTS, 3, 0),
            LeftOut(scanner.BUILD_SETTINGS, 2, 0),
            LeftOut(scanner.TESTS, 4, 7),
        )

    def test_shards_hold_every_file_once_and_weigh_the_same(self) -> None:
        files = [SourceFile(f"m{n}.py", (n * 7919) % 5000) for n in range(300)]

        shards = deal(files, 8)

        dealt = [file for hand in shards for file in hand.files]
        weights = [hand.size_bytes for hand in shards]
        assert sorted(dealt, key=str) == sorted(files, key=str)
        assert max(weights) - min(weights) <= 100
        assert deal(files[::-1], 8) == shards

    def test_more_shards_than_files(self) -> None:
        shards = deal([SourceFile("a.py", 5), SourceFile("b.py", 0)], 4)

        assert [len(hand.files) for hand in shards] == [1, 1, 0, 0]

    def test_no_shards_are_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            deal([], 0)

    def test_a_root_that_is_no_directory_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(NotADirectoryError, match="nowhere"):
            scanner.describe(str(tmp_path / "nowhere"), 8)

    def test_a_directory_that_cannot_be_listed_is_fatal(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            find_sources(tmp_path / "gone")

    def test_an_empty_root_means_this_interpreter(self) -> None:
        scan = scanner.describe("", 8)

        files = {path for part in scan["shards"] for path in part["files"]}
        library = scan["library"]
        assert library["own"]
        assert library["root"] == str(Path(sysconfig.get_path("stdlib")).resolve())
        assert {"abc.py", "asyncio/events.py", "json/__init__.py"} <= files
        assert not any(path.startswith(("test/", "site-packages/")) for path in files)
        assert {"asyncio", "json"} <= set(library["packages"])
        assert "sys" in library["sourceless"]
        assert len(json.dumps(scan)) < 64_000


class TestShard:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        sources: dict[str, str | bytes] = {
            f"p{n % 4}/m{n:02}.py": f'"""Doc."""\nimport x{n % 3}\ndef f(): {n}\n'
            for n in range(3 * FILES_PER_STAGE + 4)
        }
        sources["p0/m00.py"] = "def broken(:\n"
        sources["p1/m13.py"] = b"x = '\xff'\n"
        return plant(tmp_path, sources)

    @pytest.fixture
    def files(self, root: Path) -> list[str]:
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))

    def test_resumed_is_the_same_as_uninterrupted(
        self, root: Path, files: list[str]
    ) -> None:
        stages = run_shard(root, files)
        whole = stages[-1].census.to_json()

        for stage in stages:
            again = resume(files, through_json(stage.saved()))
            assert again == stage
            while not again.finished:
                again = advance(again, root)
            assert json.dumps(again.census.to_json()) == json.dumps(whole)

    def test_resuming_does_not_read_again(self, root: Path, files: list[str]) -> None:
        first = advance(resume(files, {}), root)
        for path in files[: first.done]:
            (root / path).unlink()

        second = advance(resume(files, through_json(first.saved())), root)

        assert second.done == 2 * FILES_PER_STAGE

    def test_progress_ends_at_a_hundred(self, root: Path, files: list[str]) -> None:
        stages = run_shard(root, files)

        assert [stage.percent for stage in stages] == [0, 29, 58, 88, 100]

    def test_what_was_saved_for_other_files_is_not_used(
        self, root: Path, files: list[str]
    ) -> None:
        saved = through_json(advance(resume(files, {}), root).saved())

        assert resume(files[1:], saved) == Stage(tuple(files[1:]))
        assert resume(files[:3], saved) == Stage(tuple(files[:3]))

    def test_files_that_do_not_parse_are_named(
        self, root: Path, files: list[str]
    ) -> None:
        census = run_shard(root, files)[-1].census

        assert [path for path, _ in census.failures] == ["p0/m00.py", "p1/m13.py"]
        assert census.total.failed_files == 2
        assert census.total.files == len(files) - 2
        assert census.total.functions == len(files) - 2

    def test_only_the_first_failures_are_named(self, tmp_path: Path) -> None:
        paths = [f"p/m{n:03}.py" for n in range(KEPT_FAILURES + 5)]
        root = plant(tmp_path, dict.fromkeys(paths, "?"))

        census = run_shard(root, paths)[-1].census

        assert [path for path, _ in census.failures] == paths[:KEPT_FAILURES]
        assert census.total.failed_files == KEPT_FAILURES + 5

    def test_a_file_that_went_missing_is_fatal(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            advance(resume(["gone.py"], {}), tmp_path)

    def test_an_empty_shard_is_finished(self) -> None:
        stage = resume([], {})

        assert (stage.finished, stage.percent) == (True, 100)
        assert Census.from_json(stage.census.to_json()) == Census()


class TestImportGraph:
    CENSUS = Census(
        packages=dict.fromkeys("abcde", Tally(files=1)),
        imports={
            ("a", "b"): Imports(3, 3),
            ("b", "c"): Imports(1, 1),
            ("c", "a"): Imports(1, 0),
            ("c", "b"): Imports(1, 1),
            ("d", "sys"): Imports(9, 9),
            ("d", "a"): Imports(1, 1),
            ("d", "winreg2"): Imports(1, 1),
        },
    )

    def test_findings(self) -> None:
        found = read_imports(self.CENSUS, "abcde", ["sys"])

        assert (found.arrows, found.eager_arrows) == (6, 5)
        assert found.most_imported == (("a", 2), ("b", 2), ("c", 1), ("sys", 1))
        assert found.most_importing == (("c", 2), ("d", 2), ("a", 1), ("b", 1))
        assert found.farthest_reaching == (("d", 4), ("a", 2), ("b", 1), ("c", 1))
        assert found.knots == (("a", "b", "c"),)
        assert found.eager_knots == (("b", "c"),)
        assert found.unimported == ("d", "e")
        assert found.foreign == ("winreg2",)

    def test_a_chain_has_no_knots(self) -> None:
        assert find_knots({"a": {"b"}, "b": {"c"}}) == ()

    def test_two_knots_that_one_arrow_joins_stay_two(self) -> None:
        graph = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"e"}, "e": {"c"}}

        assert find_knots(graph) == (("c", "d", "e"), ("a", "b"))


class TestReport:
    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        return plant(
            tmp_path / "tree",
            {
                "alpha/__init__.py": '"""Alpha."""\nimport beta\nimport sys\n',
                "alpha/more.py": "def f():\n    import gamma\n\n\n# end\n",
                "beta.py": "import alpha\nclass B: pass\n",
                "gamma.py": "def broken(:\n",
                "tests/test_alpha.py": "assert 1\n",
            },
        )

    def test_the_numbers_of_a_small_tree(self, tree: Path, tmp_path: Path) -> None:
        result = publish(
            read_survey(*run_census(str(tree), 8)), str(tmp_path / "deep" / "out")
        )

        paths = [result.pop("report"), result.pop("picture")]
        assert [Path(path).name for path in paths] == ["census.md", "census.svg"]
        assert all(Path(path).is_file() for path in paths)
        assert result.pop("python").endswith(sys.version.split()[0])
        assert result == {
            "packages": 3,
            "files": 3,
            "failed_files": 1,
            "lines": 10,
            "code_lines": 6,
            "classes": 1,
            "functions": 1,
            "methods": 0,
            "docstring_coverage": 0.2,
            "most_imported": ["alpha", "beta", "gamma", "sys"],
        }

    def test_what_the_text_says(self, tree: Path) -> None:
        text = write_report(read_survey(*run_census(str(tree), 3)), "census.svg")

        assert "**10 lines** in 3 files and 3 top-level packages and modules" in text
        assert "![The census as a picture](census.svg)" in text
        assert "| `alpha` | 2 | 8 | 0 | 1 | 33% |" in text
        assert "| `beta` | 1 | 2 | 1 | 0 | 0% |" in text
        assert "| `gamma.py` | SyntaxError on line 1 |" in text
        assert f"{plain(scanner.TESTS)} | 1 | 0 |" in text
        assert "The largest one holds 2: `alpha`, `beta`." in text
        assert str(tree) in text

    def test_shards_change_nothing(self, tree: Path) -> None:
        one, many = (read_survey(*run_census(str(tree), n)) for n in (1, 8))

        assert write_report(one, "x.svg") == write_report(many, "x.svg")
        assert draw(one) == draw(many)

    def test_the_order_of_what_arrives_changes_nothing(self, tree: Path) -> None:
        library, census = run_census(str(tree), 2)
        mixed = {name: census[name] for name in reversed(census)}
        for part in ("packages", "imports"):
            mixed[part] = dict(reversed(census[part].items()))

        one, other = read_survey(library, census), read_survey(library, mixed)

        assert write_report(one, "x.svg") == write_report(other, "x.svg")
        assert draw(one) == draw(other)

    def test_a_library_of_nothing_has_a_report(self) -> None:
        survey = survey_of(Census())

        text = write_report(survey, "census.svg")

        assert "**0 lines**" in text
        assert "There are none" in text
        ET.fromstring(draw(survey))  # noqa: S314  # our own XML

    def test_publishing_again_replaces_whole_files(
        self, tree: Path, tmp_path: Path
    ) -> None:
        survey, output = read_survey(*run_census(str(tree), 1)), tmp_path / "out"
        publish(survey, str(output))
        first = {path.name: path.read_bytes() for path in output.iterdir()}

        publish(survey, str(output))

        assert {path.name: path.read_bytes() for path in output.iterdir()} == first
        assert sorted(first) == ["census.md", "census.svg"]

    def test_a_write_that_fails_leaves_the_old_file(self, tmp_path: Path) -> None:
        place = tmp_path / "census.md"
        place.write_text("old")

        with pytest.raises(UnicodeEncodeError):
            write_whole(place, "new \udcff")

        assert [path.name for path in tmp_path.iterdir()] == ["census.md"]
        assert place.read_text() == "old"

    def test_knots_that_only_wait_are_told_apart(self) -> None:
        census = Census(
            packages={"a": Tally(files=1), "b": Tally(files=1)},
            imports={("a", "b"): Imports(1, 1), ("b", "a"): Imports(1, 0)},
        )

        text = write_report(survey_of(census), "census.svg")

        assert "The largest one holds 2: `a`, `b`." in text
        assert "If only eager imports count, no knot is left." in text
        assert "Imported by no other package" not in text

    def test_names_from_elsewhere_are_listed(self) -> None:
        census = Census(
            packages={"a": Tally(files=1)}, imports={("a", "vendored"): Imports(1, 1)}
        )

        text = write_report(survey_of(census), "census.svg")

        assert "Imported, and not in this census: `vendored`." in text
        assert "Imported by no other package: `a`." in text

    def test_long_failures_say_how_many_more(self) -> None:
        failures = tuple((f"{n}.py", "SyntaxError") for n in range(3))
        census = Census(packages={"a": Tally(failed_files=5)}, failures=failures)

        assert "And 2 more." in write_report(survey_of(census), "census.svg")

    def test_best_and_worst_need_enough_to_document(self) -> None:
        census = Census(
            packages={
                "small": Tally(modules=1, modules_documented=1),
                "good": Tally(public_functions=20, public_functions_documented=20),
                "bad": Tally(public_classes=40, public_classes_documented=2),
            }
        )

        text = write_report(survey_of(census), "census.svg")

        assert "Of the 2 packages with 20 or more" in text
        assert "the best documented: `good` 100%, `bad` 5%." in text


class TestMarkdown:
    def test_nothing_breaks_out_of_a_table(self) -> None:
        assert plain("a | b\n<i>*x*") == r"a \| b \<i\>\*x\*"
        assert "|" not in code("a|b")
        assert code("a`b\nc") == "`a'b c`"

    def test_a_long_listing_is_cut(self) -> None:
        assert listing(["a", "b", "c"], 3) == "`a`, `b`, `c`"
        assert listing(["a", "b", "c"], 2) == "`a`, `b` and 1 more"


class TestPicture:
    @staticmethod
    def _texts(survey: Survey) -> list[str]:
        root = ET.fromstring(draw(survey))  # noqa: S314  # our own XML
        return [element.text or "" for element in root.iter(f"{SVG}text")]

    def test_names_are_escaped(self) -> None:
        names = ("<script>&'\"", "ctrl\x01\x00", "half\ud800", "größe")
        census = Census(
            packages=dict.fromkeys(names, Tally(files=1, code_lines=3)),
            imports={(names[0], name): Imports(1, 1) for name in names[1:]},
        )
        survey = survey_of(Census())
        survey = replace(
            survey, census=census, findings=read_imports(census, names, ())
        )

        texts = self._texts(survey)

        assert {"<script>&'\"", "ctrl\ufffd\ufffd", "half\ufffd", "größe"} <= set(texts)

    def test_it_fits_its_frame(self) -> None:
        census = Census(
            packages={
                f"package_number_{n}": Tally(
                    files=1,
                    code_lines=10 * n,
                    blank_lines=n,
                    modules=40,
                    modules_documented=n,
                )
                for n in range(41)
            },
            imports={("package_number_1", f"t{n}"): Imports(1, 1) for n in range(50)},
        )

        root = ET.fromstring(draw(survey_of(census)))  # noqa: S314  # our own XML

        for shape in root.iter(f"{SVG}rect"):
            x, y, width, height = (
                float(shape.attrib[side]) for side in ("x", "y", "width", "height")
            )
            assert 0 <= x <= x + width <= WIDTH
            assert 0 <= y <= y + height <= HEIGHT
        fills = [r.attrib["fill"] for r in root.iter(f"{SVG}rect") if len(r)]
        assert len(fills) == BARS
        assert len(set(fills)) == 3  # 40 to 100 % are documented: three of five steps

    def test_headline_numbers_are_in_it(self) -> None:
        tally = Tally(
            files=12, code_lines=1234, classes=56, functions=7, methods=80, modules=4
        )
        census = Census(packages={"a": replace(tally, modules_documented=3)})

        texts = self._texts(survey_of(census))

        assert {"The standard library of CPython 3.12.1", "1,234", "87"} <= set(texts)
        assert {"12", "56", "75%"} <= set(texts)


class TestPlan:
    def test_every_step_gives_its_action_what_it_takes(self) -> None:
        plan = Plan.from_file(PLAN)
        inputs: dict[str, Any] = {step.name: step.inputs for step in plan.steps}

        faults = {
            step.name: registry.get(step.action).check_inputs(inputs[step.name])
            for step in plan.steps
        }

        assert plan.warnings == ()
        assert set(faults.values()) == {None}
        assert registry.get("census.parse").takes_context

    def test_every_shard_is_parsed_and_joined_once(self) -> None:
        plan = Plan.from_file(PLAN)
        inputs: dict[str, Any] = {step.name: step.inputs for step in plan.steps}
        shards = inputs["scan"]["shards"]
        parsers = [f"parse_{n}" for n in range(shards)]

        assert [inputs[name]["files"] for name in parsers] == [
            f"${{steps.scan.result.shards.{n}.files}}" for n in range(shards)
        ]
        assert inputs["join"]["parts"] == [
            f"${{steps.{name}.result}}" for name in parsers
        ]
        assert set(inputs) == {"scan", *parsers, "join", "report"}

    def test_the_actions_run_from_end_to_end(self, tmp_path: Path) -> None:
        root = plant(tmp_path / "tree", {"a.py": "import b\n", "b.py": "x = 1\n"})
        saved: list[Mapping[str, Any]] = []

        class Attempt:
            """What `census.parse` asks of its context."""

            checkpoint: Mapping[str, Any] = {}
            save_checkpoint = staticmethod(saved.append)

            def progress(self, percent: float, *_: object, **__: object) -> None:
                assert percent == 100

            def raise_if_cancelled(self) -> None:
                pass

        scan = actions.scan(root=str(root), shards=2)
        library = scan["library"]
        parse = registry.get("census.parse")
        parts = [
            parse.call(Attempt(), {"root": library["root"], "files": part["files"]})
            for part in scan["shards"]
        ]
        joined = actions.join(parts=through_json(parts))
        result = actions.report(library=library, census=joined, output=str(tmp_path))

        assert (result["lines"], result["most_imported"]) == (2, ["b"])
        assert [entry["last"] for entry in saved] == ["a.py", "b.py"]


def test_a_real_package_is_counted_without_failures() -> None:
    root = scanner.find_root("")
    files = [
        source.path
        for source in find_sources(root).files
        if source.path.startswith(("json/", "email/"))
    ]

    census = run_shard(root, files)[-1].census

    assert set(census.packages) == {"json", "email"}
    assert census.failures == ()
    assert ("json", "re") in census.imports
    for path in files:
        source = Path(root, path).read_bytes()
        assert take_census(source, path).total.lines == len(source.splitlines())
    assert shard.join_shards([census.to_json()]) == census.to_json()
