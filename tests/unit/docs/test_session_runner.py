"""The runner of the pages' sessions sees what differs, and writes it into the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.environments import TfEnvironment
from tests.support.sessions import differences, matches, play, updated

PAGE = """\
# A page

```sh file=greet.sh
echo hello $1; exit 3
```

```console run
$ sh greet.sh you
hello you
$ echo $?
3

$ pwd; name=$(cat <<'END'
> kept
> END
> )
/project
$ echo $name
kept
```
"""


def no_environment(version: str) -> TfEnvironment:
    raise AssertionError(f"no session here asks for {version}")


def test_commands_share_a_shell_and_what_they_print_is_compared(tmp_path: Path) -> None:
    assert differences(play(PAGE, tmp_path, no_environment)) == []


def test_what_differs_is_told_and_written_into_the_page(tmp_path: Path) -> None:
    stale = PAGE.replace("hello you", "hello me").replace("\nkept\n```", "\n```")
    played = play(stale, tmp_path, no_environment)
    first, second = differences(played)
    assert "-hello me" in first
    assert "+hello you" in first
    assert "+kept" in second
    assert updated(stale, played) == PAGE


def test_elisions_stay_where_the_rest_still_stands(tmp_path: Path) -> None:
    page = "```console run\n$ seq 5; echo 10 bytes; echo end\n1\n...\n... bytes\n{}\n```\n"
    stale = page.format("the end")
    played = play(stale, tmp_path, no_environment)
    assert len(differences(played)) == 1
    assert updated(stale, played) == page.format("end")


@pytest.mark.parametrize(
    ("expected", "same"),
    [
        (["a 1 b", "c"], True),
        (["a ... b", "c"], True),
        (["...", "c"], True),
        (["a 1 b", "...", "c"], True),
        (["a 1 b"], False),
        (["a ... c", "c"], False),
        (["a 1 b", "c", "d"], False),
        (["a . b", "c"], False),
    ],
)
def test_an_elision_stands_for_any_text_and_for_nothing_else(
    expected: list[str], same: bool
) -> None:
    assert matches(expected, ["a 1 b", "c", ""]) is same
