import json

import pytest

from aib_keras.utils.files import (
    atomic_path,
    read_json,
    read_json_lines,
    write_json,
    write_json_lines,
)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "state.txt"
    path.write_text("good")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_has_the_ending_that_writers_look_at(tmp_path):
    with atomic_path(tmp_path / "a.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.write_text("x")


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "state.txt"
    with atomic_path(path) as first:
        first.write_text("first")
        with atomic_path(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_json_is_named(tmp_path):
    path = tmp_path / "result.json"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(ValueError, match=f"{path} is not valid JSON: Extra data"):
        read_json(path)


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, 2]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1, 2]}


def test_json_lines_leave_out_a_line_that_a_kill_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_json_lines(path, [{"epoch": 1}, {"epoch": 2}])
    with open(path, "a") as file:
        file.write('{"epoch": 3, "lo')
    assert read_json_lines(path) == [{"epoch": 1}, {"epoch": 2}]
    assert read_json_lines(tmp_path / "none.jsonl") == []
