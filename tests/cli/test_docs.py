"""`rotator docs`: documents as they are read in a pipe, on a terminal and in a pager."""

import re

import pytest

from rotator.cli.help import TOPICS
from support.documents import DOCUMENTS, README
from support.processes import run_here
from support.terminals import on_terminal

PAGES = {topic: path for topic, path in DOCUMENTS.items() if topic != "README"}
MARKS = re.compile(r"^<!--.*-->\n", re.MULTILINE)
QUESTION = re.compile(r"# [^\n]+\n\n\*([^*\n]+\?)\*\n")
"""How a document begins: its title and the question that it answers."""


def test_every_document_is_a_topic():
    """Whatever is shipped can be shown, and nothing else."""
    assert set(PAGES) == set(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_pipe_gets_markdown(topic):
    """In a pipe a document is its file, so that entries can be copied, without marks in it."""
    done = run_here(["docs", topic])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == MARKS.sub("", PAGES[topic].read_text())


@pytest.mark.parametrize("args", [[], ["--list"], ["verdicts", "--list"]])
def test_the_list(args):
    """Without a topic, and with --list, each document is listed, and how to open one is said."""
    lines = run_here(["docs", *args]).stdout.splitlines()
    assert lines[-1] == "`rotator docs TOPIC` shows one"
    rows = [line.split(maxsplit=1) for line in lines]
    found = [(row[0], row[1].strip()) for row in rows if len(row) == 2 and row[0] in TOPICS]
    questions = {topic: QUESTION.match(path.read_text())[1] for topic, path in PAGES.items()}
    assert found == [(topic, questions[topic]) for topic in TOPICS]


def test_readme_lists_them():
    """The index in README.md has every document with its question, in the same order."""
    rows = re.findall(
        r"^\| \[([\w-]+)\]\(rotator/docs/([\w-]+)\.md\) \| (.+) \|$",
        README.read_text(),
        re.MULTILINE,
    )
    questions = {topic: QUESTION.match(path.read_text())[1] for topic, path in PAGES.items()}
    assert rows == [(topic, topic, questions[topic]) for topic in TOPICS]


@pytest.mark.parametrize("topic", TOPICS)
def test_a_terminal_of_80_columns(topic):
    """On a terminal of 80 columns a document is laid out, and no line is longer."""
    shown = on_terminal("docs", topic, env={"PAGER": "cat", "TERM": "xterm"})
    assert max(map(len, shown.splitlines())) <= 80
    assert "```" not in shown
    assert "|---" not in shown
    assert "](" not in shown
    title = PAGES[topic].read_text().partition("\n")[0].removeprefix("# ")
    assert title in " ".join(shown.split())


def test_a_long_one_goes_through_the_pager():
    """A document that is longer than the terminal is given to the pager, a short list is not."""
    env = {"PAGER": "sed 's/^/paged:/'", "TERM": "xterm"}
    assert "paged:" in on_terminal("docs", "verdicts", env=env)
    assert "paged:" not in on_terminal("docs", "verdicts", rows=2000, env=env)
    assert "paged:" not in on_terminal("docs", env=env)


def test_a_topic_that_is_none():
    """A document that there is not is refused, with the one that was meant."""
    done = run_here(["docs", "verdict"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "rotator: error: there is no document on verdict\n"
        "rotator: hint: did you mean `rotator docs verdicts`? `rotator docs` shows what there is\n"
    )
