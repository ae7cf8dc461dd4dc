"""Reading and merging configuration files."""

import json
from pathlib import Path

import pytest

from rotator.config import load
from rotator.config.files import read
from rotator.config.load import expand, locate, merge, read_all
from rotator.config.types import shown
from support.commandline import bundle
from support.refusals import SECRET, refused


def write(path, text):
    """Write *text* to *path* and return the path."""
    path.write_text(text, encoding="utf-8")
    return path


class TestPlaces:
    """Where the configuration is looked for."""

    def test_given_files_come_first(self, monkeypatch):
        """Files that are given are the only ones."""
        monkeypatch.setenv("MAVERICS_CONFIG", "/x.yaml")
        assert locate([Path("a"), Path("b")]) == (Path("a"), Path("b"))

    def test_variable_comes_second(self, monkeypatch):
        """MAVERICS_CONFIG names the file when none is given."""
        monkeypatch.setenv("MAVERICS_CONFIG", "/x.yaml")
        assert locate([]) == (Path("/x.yaml"),)

    @pytest.mark.parametrize("empty", [True, False])
    def test_default_comes_last(self, monkeypatch, empty):
        """With nothing said, or an empty variable, the Orchestrator's own place is read."""
        monkeypatch.delenv("MAVERICS_CONFIG", raising=False)
        if empty:
            monkeypatch.setenv("MAVERICS_CONFIG", "")
        assert locate([]) == (Path("/etc/maverics/maverics.yaml"),)
        assert locate([]) == (load.DEFAULT_PLACE,)


class TestMerge:
    """Several files, one after another."""

    def test_mappings_merge_and_the_rest_is_replaced(self):
        """Mappings merge field by field; a later list or scalar replaces the earlier one."""
        base = {"rotator": {"formats": {"a": {"layout": [1, 2], "aad": "none"}}}, "tls": 1}
        over = {"rotator": {"formats": {"a": {"layout": [3]}, "b": {}}}, "tls": {"x": 1}}
        assert merge(base, over) == {
            "rotator": {"formats": {"a": {"layout": [3], "aad": "none"}, "b": {}}},
            "tls": {"x": 1},
        }
        assert base["rotator"]["formats"] == {"a": {"layout": [1, 2], "aad": "none"}}

    def test_caches_merge_by_name(self):
        """A cache of a later file merges into the one with its name; a new one comes last."""
        base = {"caches": [{"name": "a", "redis": {"tls": "x"}}, {"name": "b"}]}
        over = {"caches": [{"name": "c"}, {"name": "a", "redis": {"username": "u"}}]}
        assert merge(base, over)["caches"] == [
            {"name": "a", "redis": {"tls": "x", "username": "u"}},
            {"name": "b"},
            {"name": "c"},
        ]

    def test_name_given_twice_in_one_file_stays_two(self):
        """Merging does not hide that a file gives two caches one name."""
        base = {"caches": [{"name": "a"}]}
        over = {"caches": [{"name": "a", "x": 1}, {"name": "a", "x": 2}]}
        assert merge(base, over)["caches"] == [{"name": "a", "x": 1}, {"name": "a", "x": 2}]
        assert len(merge(over, base)["caches"]) == 2

    def test_nameless_caches_are_kept(self):
        """Whatever has no name is appended, to be refused with its own path."""
        assert merge({"caches": [{}]}, {"caches": [{}, 7]})["caches"] == [{}, {}, 7]

    def test_an_empty_section_takes_nothing_away(self):
        """A section of which all is commented out leaves the earlier file's as it is."""
        base = {"caches": [{"name": "a"}], "rotator": {"caches": {"a": {"match": ["x"]}}}}
        assert merge(base, {"caches": None, "rotator": {"caches": None}}) == base

    def test_files_of_several_kinds(self, tmp_path):
        """YAML, JSON and a bundle merge in the order given."""
        files = [
            write(tmp_path / "a.yaml", "caches: [{name: a, type: redis}]\nother: {x: 1}\n"),
            write(tmp_path / "b.json", '{"caches": [{"name": "a", "type": "x"}]}'),
            bundle(tmp_path / "c.tar.gz", **{"./maverics__json": '{"tls": {"p": {"x": 1}}}'}),
        ]
        assert read_all(files) == {
            "caches": [{"name": "a", "type": "x"}],
            "tls": {"p": {"x": 1}},
        }


class TestYaml:
    """What is refused, and where it says the fault is."""

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            (f"caches:\n  - name: [{SECRET}\n", "line 3, column 1"),
            (f"caches:\n  - password: *{SECRET}\n", "line 2, column 15"),
            (f"caches:\n  - password: !{SECRET} x\n", "line 2, column 15"),
            (f"caches:\n  - password: @{SECRET}\n", "line 2, column 15"),
            (f"a: 1\n---\nb: {SECRET}\n", "line 2, column 1"),
            ("caches:\n  - {password: {{ env.PASSWORD }}}\n", "line 2, column 17"),
            (f"caches:\n  - x: !!bool {SECRET}\n", "line 2, column 8"),
            (f"caches:\n  - x: !!int {SECRET}\n", "line 2, column 8"),
            (f"caches:\n  - x: !!timestamp {SECRET}\n", "line 2, column 8"),
            (f"caches:\n  - !!str x: {SECRET}\n    ? [{SECRET}]\n    : x\n", "line 3, column 7"),
            (f"caches: !!python/object/apply:os.system [{SECRET}]\n", "line 1, column 9"),
        ],
    )
    def test_broken(self, tmp_path, text, place):
        """Broken YAML is refused with line and column, and nothing of the line is shown."""
        path = write(tmp_path / "m.yaml", text)
        error = refused(lambda: read(path, load.SECTIONS), f"{path}: {place}", "YAML")
        assert "quoted" in error.hint

    def test_field_given_twice(self, tmp_path):
        """A field given twice is refused, also where one of them is deep in the file."""
        path = write(tmp_path / "m.yaml", f"x: 1\ncaches:\n- a: {SECRET}\n  b: 1\n  a: 2\n")
        refused(lambda: read(path), "line 5, column 3", "given twice")

    def test_control_character(self, tmp_path):
        """A control character is refused with its line."""
        path = write(tmp_path / "m.yaml", f"a: 1\nb: {SECRET}\x00\n")
        refused(lambda: read(path), "line 2", "character")

    @pytest.mark.parametrize("text", [f"- {SECRET}", SECRET, "7"])
    def test_not_a_mapping(self, tmp_path, text):
        """A list or a scalar is no configuration."""
        path = write(tmp_path / "m.yaml", text)
        refused(lambda: read(path), str(path), "not a mapping")

    def test_nested_too_deeply(self, tmp_path):
        """A file nested beyond all measure is refused, not a crash."""
        path = write(tmp_path / "m.yaml", "[" * 5000)
        refused(lambda: read(path), "nested too deeply")
        path = write(tmp_path / "m.json", '{"a":' * 100_000)
        refused(lambda: read(path), "nested too deeply")
        chain = "".join(f"a{index}: &a{index} [*a{index - 1}]\n" for index in range(1, 1200))
        path = write(tmp_path / "m.yaml", f"a0: &a0 []\n{chain}")
        refused(lambda: read(path), "nested too deeply")

    @pytest.mark.parametrize(
        "text", ['a: "\\UFFFFFFFF"', 'a: "\\U00110000"', f"%YAML 1.{'9' * 5000}"]
    )
    def test_what_no_parser_can_hold(self, tmp_path, text):
        """An escape beyond Unicode, or a version of 5,000 digits, is refused, not a crash."""
        path = write(tmp_path / "m.yaml", text)
        refused(lambda: read(path), str(path), "impossible")

    def test_empty(self, tmp_path):
        """An empty file, or one of comments, says nothing."""
        for text in ("", "# nothing\n", "# nothing\n---\n", "null\n"):
            assert read(write(tmp_path / "m.yaml", text)) == {}
        assert read(write(tmp_path / "m.json", "\n")) == {}

    def test_other_sections_are_not_built(self, tmp_path):
        """A fault of meaning in a section that rotator does not read does not count."""
        text = "connectors: {<<: 7, when: !!int x, what: !secret x, {a: 1}: 2}\ncaches: []\n"
        assert read(write(tmp_path / "m.yaml", text), load.SECTIONS) == {"caches": []}

    def test_byte_order_mark(self, tmp_path):
        """A byte order mark is not part of the first field."""
        assert read(write(tmp_path / "m.yaml", "\ufeffcaches: []\n")) == {"caches": []}

    def test_not_text(self, tmp_path):
        """A file that is not UTF-8 is refused."""
        path = tmp_path / "m.yaml"
        path.write_bytes(b"caches: \xff\xfe")
        refused(lambda: read(path), "UTF-8")

    def test_missing_file_and_directory(self, tmp_path):
        """A file that is not there, or is a directory, is refused with the reason."""
        error = refused(lambda: read(tmp_path / "none.yaml"), "none.yaml", "no such file")
        assert "--config" in error.hint
        refused(lambda: read(tmp_path), "is a directory")


class TestScalars:
    """A scalar is the text that the file has; the field that takes it decides what it means."""

    @pytest.mark.parametrize(
        "text",
        [
            *("7", "0", "-0", "+12", "012345", "0o14", "014", "0x1F", "0b1", "1_000", "9" * 5000),
            *("1e10", "1.50", ".5", "1.", "-.inf", ".NaN", "1:30", "190:20:30.15", "12:30:45"),
            *("true", "False", "TRUE", "on", "Off", "yes", "NO", "y", "n"),
            *("2026-01-02", "2026-13-45", "2026-01-02T03:04:05Z", "=", "<<", "nULL", "None", "a b"),
        ],
    )
    def test_plain(self, tmp_path, text):
        """What a parser may take for a number, a date or a boolean is text as written."""
        path = write(tmp_path / "m.yaml", f"x: {text}\ny: [{text}]\n")
        assert read(path) == {"x": text, "y": [text]}

    @pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL", "! ~", "!!null", "!!null ~"])
    def test_null(self, tmp_path, text):
        """Nothing, and the forms of null, are null."""
        assert read(write(tmp_path / "m.yaml", f"x: {text}\n")) == {"x": None}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            *(("''", ""), ('""', ""), ("'null'", "null"), ('"~"', "~"), ("|-\n  null", "null")),
            *(("'7'", "7"), ('"true"', "true"), ("'it''s'", "it's"), (r'"\x41\n"', "A\n")),
            *(("|\n  a\n  b", "a\nb\n"), (">-\n  a\n  b", "a b"), ("a\n  b", "a b")),
        ],
    )
    def test_quoted(self, tmp_path, text, expected):
        """What is quoted, or a block, is text even if it looks like null."""
        assert read(write(tmp_path / "m.yaml", f"x: {text}\n")) == {"x": expected}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            *(("!!str", ""), ("!!str ~", "~"), ("!!str 1", "1"), ("! 1", "1"), ('! "~"', "~")),
            *(("!!bool true", "true"), ("!!bool FALSE", "FALSE"), ("!!float 1", "1")),
            *(("!!int 7", "7"), ("!!int '-7'", "-7"), ("!!int 0o17", "0o17"), ("!!int 0xF", "0xF")),
            *(("!!float 1.5e-3", "1.5e-3"), ("!!float -.INF", "-.INF"), ("!!float .nan", ".nan")),
            *(("!<tag:yaml.org,2002:int> 7", "7"), ("!!map {a: b}", {"a": "b"}), ("!!seq []", [])),
        ],
    )
    def test_tag(self, tmp_path, text, expected):
        """A tag of the core schema is accepted on what has its form, and the text stays."""
        assert read(write(tmp_path / "m.yaml", f"x: {text}\n")) == {"x": expected}

    @pytest.mark.parametrize(
        "text",
        [
            *("!!bool on", "!!bool ''", "!!int x", "!!int 1.0", "!!int 0b1", "!!int 1_0", "!!int"),
            *("!!float x", "!!float 1:30", "!!null x", "!!str [x]", "!!seq {a: b}", "!!map [x]"),
            *("!!map x", "!!seq x", "!x y", "!x {a: b}", "!x [a]", "!<x> y", "!!merge x"),
            *("!!timestamp 2026-01-02", "!!binary eA==", "!!set {a}", "!!omap []", "!!value ="),
            *("!!python/name:os.system x", "!!python/tuple [x]", "!!int [1]"),
        ],
    )
    def test_other_tag(self, tmp_path, text):
        """Any other tag is refused with its place."""
        path = write(tmp_path / "m.yaml", f"a: b\nx: {text}\n")
        error = refused(lambda: read(path), "line 2, column 4: cannot be read as YAML")
        assert "!" in error.hint

    @pytest.mark.parametrize("escape", [r"\ud800", r"\ud83d\ude00", r"\U0000dfff"])
    def test_half_a_character(self, tmp_path, escape):
        """An escape for half of a pair, which no text can have, is refused with its place."""
        path = write(tmp_path / "m.yaml", f'x: "{SECRET}{escape}"\n')
        refused(lambda: read(path), "line 1, column 4: cannot be read as YAML")

    def test_half_a_character_in_json(self, tmp_path):
        """So it is in JSON, in a value or the name of a field; a pair makes one character."""
        for text in (rf'{{"x": ["{SECRET}\udc00"]}}', rf'{{"{SECRET}\ud83d": 1}}'):
            path = write(tmp_path / "m.json", text)
            refused(lambda: read(path), "impossible number or escape")  # noqa: B023 - called at once
        assert read(write(tmp_path / "m.json", r'{"x": "\ud83d\ude00"}')) == {"x": "\U0001f600"}

    def test_names_of_fields(self, tmp_path):
        """The name of a field is text as written, too."""
        path = write(tmp_path / "m.yaml", "1: a\non: b\n~: c\n0x1: d\n!!str e: f\n? g\n: h\n")
        names = {"1": "a", "on": "b", "~": "c", "0x1": "d", "e": "f", "g": "h"}
        assert read(path) == names


class TestMappings:
    """Which fields a mapping has: its own, each once, and those of `<<`."""

    BASES = "p: &p {a: 1, b: 2}\nq: &q {b: 3, c: 4}\nr: &r {<<: *q, c: 5}\n"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("{<<: *p}", {"a": "1", "b": "2"}),
            ("{<<: *p, a: x}", {"a": "x", "b": "2"}),
            ("{a: x, <<: *p}", {"a": "x", "b": "2"}),
            ("{a: ~, <<: *p}", {"a": None, "b": "2"}),
            ("{<<: {a: x}, b: y}", {"a": "x", "b": "y"}),
            ("{<<: [*p, *q]}", {"a": "1", "b": "2", "c": "4"}),
            ("{<<: [*q, *p]}", {"a": "1", "b": "3", "c": "4"}),
            ("{<<: [{b: x}, *p, {a: y, z: z}]}", {"a": "1", "b": "x", "z": "z"}),
            ("{b: x, <<: [*q, *p]}", {"a": "1", "b": "x", "c": "4"}),
            ("{<<: *r}", {"b": "3", "c": "5"}),
            ("{<<: [*r, *p]}", {"a": "1", "b": "3", "c": "5"}),
            ("{<<: {<<: {<<: *p, a: x}, b: y}}", {"a": "x", "b": "y"}),
            ("{<<: []}", {}),
            ("{!!merge <<: *p}", {"a": "1", "b": "2"}),
            ('{"<<": *p}', {"<<": {"a": "1", "b": "2"}}),
            ("{'<<': x, a: y}", {"<<": "x", "a": "y"}),
            ("{!!str <<: x}", {"<<": "x"}),
            ("{a: <<, b: [<<]}", {"a": "<<", "b": ["<<"]}),
            ("{a: {<<: *p}, b: *p}", {"a": {"a": "1", "b": "2"}, "b": {"a": "1", "b": "2"}}),
        ],
    )
    def test_merge_key(self, tmp_path, text, expected):
        """A field written out wins wherever it stands, then the earlier of the merged mappings."""
        path = write(tmp_path / "m.yaml", f"{self.BASES}x: {text}\n")
        assert read(path, ["x"]) == {"x": expected}

    def test_merge_key_at_the_top(self, tmp_path):
        """Sections are taken over like other fields, and those not asked for are not built."""
        text = "base: &b {tls: {}, caches: [x], connectors: !secret x}\ncaches: []\n<<: *b\n"
        path = write(tmp_path / "m.yaml", text)
        assert read(path, load.SECTIONS) == {"tls": {}, "caches": []}

    @pytest.mark.parametrize(
        "text", ["7", "~", "", "[7]", "[[]]", "[{}, [{}]]", "*s", "*l", "[*l]"]
    )
    def test_merge_of_no_mapping(self, tmp_path, text):
        """What is no mapping, nor a list of them, cannot be merged; nor what stands for a list."""
        path = write(tmp_path / "m.yaml", f"s: &s {SECRET}\nl: &l [{{}}]\nx: {{<<: {text}}}\n")
        error = refused(lambda: read(path), "line 3, column 5: << takes a mapping")
        assert "<<: [" in error.hint

    @pytest.mark.parametrize(
        ("text", "column"),
        [
            *(("a: 1, a: 1", 11), ("1: a, '1': b", 11), ('on: a, "on": b', 12)),
            *(("a: 1, !!str a: 2", 11), ("&k a: 1, *k : 2", 5), ("~: 1, '~': 2", 11)),
            *(("<<: {}, <<: {}", 13), ("<<: {}, '<<': {}", 13), ("b: {c: 1, c: 2}", 15)),
        ],
    )
    @pytest.mark.parametrize("sections", [None, load.SECTIONS])
    def test_field_given_twice(self, tmp_path, text, column, sections):
        """Two fields with one text are refused, also in a section that is not built."""
        path = write(tmp_path / "m.yaml", f"a: b\nx: {{{text}}}\n")
        refused(lambda: read(path, sections), f"line 2, column {column}", "given twice")

    @pytest.mark.parametrize("key", ["[a]", "{a: b}", "? [a]\n  ", "*l ", "!x a", "!!int a"])
    def test_name_that_is_no_text(self, tmp_path, key):
        """A field whose name is a list, a mapping or has another tag is refused with its place."""
        path = write(tmp_path / "m.yaml", f"l: &l [{SECRET}]\nx:\n  {key}: b\n")
        refused(lambda: read(path), "cannot be read as YAML", ": line ", "column ")


class TestAliases:
    """What stands for a node that was given before."""

    def test_alias(self, tmp_path):
        """An alias is what its anchor is, and the later of two anchors with one name counts."""
        path = write(tmp_path / "m.yaml", "a: &x 07\nb: *x\nc: &x [8]\nd: *x\n&y e: *y\n")
        assert read(path) == {"a": "07", "b": "07", "c": ["8"], "d": ["8"], "e": "e"}

    @pytest.mark.parametrize(
        ("text", "column"),
        [("&a [*a]", 8), ("&a {b: [1, *a]}", 15), ("&a {<<: *a}", 12), ("&a {*a : b}", 8)],
    )
    @pytest.mark.parametrize("sections", [None, load.SECTIONS])
    def test_anchor_that_contains_itself(self, tmp_path, text, column, sections):
        """An anchor that contains itself is refused, also in a section that is not built."""
        path = write(tmp_path / "m.yaml", f"a: b\nx: {text}\n")
        place = f"line 2, column {column}"
        refused(lambda: read(path, sections), f"{place}: an anchor contains itself")

    @pytest.mark.parametrize(
        ("first", "level"),
        [
            ("[x]", "[{}]"),
            ("{k: x}", "{{<<: [{}]}}"),
            ("{k: x}", "{{a: [{}]}}"),
        ],
    )
    def test_explosion(self, tmp_path, first, level):
        """Aliases of aliases that unfold to billions of nodes are refused before they do."""
        lines = [f"a0: &a0 {first}\n"]
        for index in range(1, 12):
            aliases = ", ".join([f"*a{index - 1}"] * 9)
            lines.append(f"a{index}: &a{index} {level.format(aliases)}\n")
        path = write(tmp_path / "m.yaml", "".join(lines))
        refused(lambda: read(path), ": line ", "its aliases expand to too much")

    def test_many(self, tmp_path):
        """As many as yaml.v3 lets a small file have, 99 of 100, are read."""
        items, aliases = ["x"] * 4000, ["*a"] * 99
        path = write(tmp_path / "m.yaml", f"a: &a [{','.join(items)}]\nb: [{','.join(aliases)}]\n")
        assert read(path)["b"] == [items] * 99


class TestJson:
    """The same for JSON."""

    def test_broken(self, tmp_path):
        """Broken JSON is refused with line and column, and nothing of the line is shown."""
        path = write(tmp_path / "m.json", f'{{"caches": [\n  {{"password": "{SECRET}",}}\n]}}')
        refused(lambda: read(path), f"{path}: line 2, column ", "not JSON")

    def test_field_given_twice(self, tmp_path):
        """A field given twice in an object is refused by its name."""
        path = write(tmp_path / "m.json", f'{{"x": [{{"a": "{SECRET}", "a": 1}}]}}')
        refused(lambda: read(path), "the field a is given twice")

    def test_not_a_mapping(self, tmp_path):
        """A list is no configuration."""
        path = write(tmp_path / "m.json", json.dumps([SECRET]))
        refused(lambda: read(path), "not a mapping")


class TestExpand:
    """`{{ env.NAME }}` in strings."""

    def test_every_string(self, monkeypatch):
        """A variable is replaced wherever it stands in a string, with or without spaces."""
        monkeypatch.setenv("ROT_A", "a")
        monkeypatch.setenv("ROT_EMPTY", "")
        given = {"x": ["{{ env.ROT_A }}", "{{env.ROT_A}}-{{ env.ROT_EMPTY }}-"], "n": 7, "z": None}
        assert expand(given, "p") == {"x": ["a", "a--"], "n": 7, "z": None}

    def test_replacement_is_not_expanded_again(self, monkeypatch):
        """What a variable holds is taken as it is."""
        monkeypatch.setenv("ROT_A", r"{{ env.ROT_B }}\1")
        assert expand("{{ env.ROT_A }}", "p") == r"{{ env.ROT_B }}\1"

    def test_other_braces_stay(self):
        """Only the form `{{ env.NAME }}` is replaced."""
        assert expand("{{ ENV.X }} {{ x }} {env.X}", "p") == "{{ ENV.X }} {{ x }} {env.X}"

    def test_unset_variable(self):
        """An unset variable is refused with the path of the field and its own name."""
        given = {"redis": {"addresses": [SECRET, f"{SECRET}{{{{ env.ROT_UNSET }}}}"]}}
        error = refused(
            lambda: expand(given, "caches[0]"), "caches[0].redis.addresses[1]: ", "ROT_UNSET"
        )
        assert "ROT_UNSET" in error.hint


def test_what_is_no_field_name_is_not_shown():
    """A key that stands where a field's name should is not shown."""
    assert shown("disablePrefix") == "disablePrefix"
    for text in ("ab" * 32, "a b", "\x1b[31m", ""):
        assert shown(text) == "(a name not shown)"
