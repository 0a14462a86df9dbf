"""Lines of files that are read in pieces."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envlock.files import reading


def first_line(raw: bytes, start: bytes) -> bytes | None:
    return next((line for line in raw.split(b"\n") if line.startswith(start)), None)


@given(
    st.lists(st.sampled_from([b"a", b"b", b",", b"\n", b"\r"]), max_size=60).map(b"".join),
    st.lists(st.sampled_from([b"a", b"b", b","]), min_size=1, max_size=9).map(b"".join),
    st.integers(1, 20),
)
def test_it_is_found_wherever_the_pieces_end(raw: bytes, start: bytes, piece: int) -> None:
    with NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        Path(file.name).write_bytes(raw)
        patch.setattr(reading, "PIECE", piece)
        assert reading.line_with(file.name, start, 1 << 20) == first_line(raw, start)


def test_a_file_that_is_too_large_is_not_searched(tmp_path: Path) -> None:
    path = tmp_path / "RECORD"
    path.write_bytes(b"a,\n" * 100)
    with pytest.raises(reading.Unreadable, match="300 bytes are more than the allowed 299"):
        reading.line_with(str(path), b"a", 299)
    with pytest.raises(reading.Unreadable, match="No such file"):
        reading.line_with(str(tmp_path / "none"), b"a", 299)
    with pytest.raises(reading.Unreadable, match="not a regular file"):
        reading.line_with(str(tmp_path), b"a", 299)
