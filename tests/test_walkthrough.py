"""Guides that are walked through: what is read out of one, and that doing it does it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.walkthrough import Save, Shown, Step, Type, Until, not_printed, steps_of, walk

DOCS = Path(__file__).parents[1] / "docs"
WALKED = ["tutorial.md", "how-to/shadow-canary-promote.md", "how-to/it-went-wrong.md"]
GUIDE = """\
Begin:

```sh
mkdir demo
mkdir -p policies && touch policies/demo
cp -r policies/demo copied
rm copied && mkdir copied
```

<!-- beside -->
```sh
while ! grep -q second copied/limits.yaml; do sleep 0.02; done 2> /dev/null
echo $$ > news.txt
sleep 1000
```

```
# limits.yaml
text: first
```

It prints

```
something
```

```
# limits.yaml
text: second
```

<!-- until 20: test -e news.txt -->
```sh
cat news.txt > last.txt
```
"""


def test_a_guide_is_read_as_what_its_reader_does() -> None:
    made, beside, first, second, until, last = steps_of(GUIDE)
    assert isinstance(made, Type)
    assert isinstance(beside, Type)
    assert (made.is_beside, beside.is_beside) == (False, True)
    assert beside.script.endswith("sleep 1000\n")
    assert first == Save(Path("copied/limits.yaml"), "# limits.yaml\ntext: first\n")
    assert second == Save(Path("copied/limits.yaml"), "# limits.yaml\ntext: second\n")
    assert until == Until("test -e news.txt", 20.0)
    assert last == Type("cat news.txt > last.txt\n")


def test_walking_through_does_it_and_leaves_nothing_running(tmp_path: Path) -> None:
    walk(GUIDE, tmp_path)
    beside = int((tmp_path / "last.txt").read_text())
    with pytest.raises(ProcessLookupError):
        os.killpg(beside, 0)


def test_what_fails_is_told_with_what_the_other_terminals_showed(tmp_path: Path) -> None:
    guide = "<!-- beside -->\n```sh\necho from beside\n```\n<!-- until 9: grep -q beside terminal-0.txt -->\n"
    with pytest.raises(AssertionError, match=r"(?s)echo no.*no.*from beside"):
        walk(f"{guide}```sh\necho no; false\necho never\n```\n", tmp_path)
    with pytest.raises(AssertionError, match="not within 0 s: false"):
        walk("<!-- until 0: false -->\n", tmp_path)


def test_files_go_to_a_folder_that_was_made_for_them() -> None:
    made, saved = steps_of("```sh\nmkdir -p mesh/routes mesh/tenants\n```\n```\n# routes/a.yaml\nkind: route/v1\n```\n")
    assert isinstance(made, Type)
    assert saved == Save(Path("mesh/routes/a.yaml"), "# routes/a.yaml\nkind: route/v1\n")


def test_what_a_guide_shows_is_compared_with_what_was_printed_last(tmp_path: Path) -> None:
    shown = "```sh\necho took 12.5 ms; echo done\n```\nIt prints\n\n<!-- shows -->\n```\ntook 3 ms\n```\n"
    assert steps_of(shown)[1] == Shown(("took 3 ms",))
    walk(shown, tmp_path)
    with pytest.raises(AssertionError, match=r"(?s)does not print\ntook 3 s\n.*took 12.5 ms"):
        walk(shown.replace("took 3 ms", "took 3 s"), tmp_path)


def test_what_differs_each_time_is_not_compared_and_words_are() -> None:
    printed = "trace  7fd76d764779f37f\nSLO       GOOD\ndigits    1,234\nend"
    assert not_printed(["trace 3b71bfa49ced72d9", "digits 7", "end"], printed) == ""
    assert not_printed(["SLO … D"], printed) == ""
    assert not_printed(["end", "digits 7"], printed) == "digits 7"
    assert not_printed(["trace 7", "bad 7"], printed) == "bad 7"


@pytest.mark.parametrize("name", WALKED)
def test_every_command_of_the_guides_is_one_that_a_shell_can_read(name: str) -> None:
    steps = steps_of((DOCS / name).read_text())
    scripts = [step.script for step in steps if isinstance(step, Type)]
    scripts += [step.command for step in steps if isinstance(step, Until)]
    assert len(scripts) > 5
    for script in scripts:
        assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0, script


@pytest.mark.parametrize("name", WALKED)
def test_whatever_the_guides_wait_for_is_waited_for(name: str) -> None:
    guide = (DOCS / name).read_text()
    assert guide.count("<!-- until") == sum(isinstance(step, Until) for step in steps_of(guide)) > 0
    assert guide.count("<!-- beside") == sum(isinstance(step, Type) and step.is_beside for step in steps_of(guide)) > 0
    assert guide.count("\n# routes/digits.yaml") == sum(map(_saves_a_route, steps_of(guide))) > 1
    assert guide.count("<!-- shows") == sum(isinstance(step, Shown) for step in steps_of(guide))


def _saves_a_route(step: Step) -> bool:
    return isinstance(step, Save) and step.path.match("*/routes/digits.yaml")
