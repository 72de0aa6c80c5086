"""Markdown tables and the numbers in them."""

import json

from aib_keras.experiments import markdown


def test_a_table_has_a_line_of_titles_a_rule_and_a_line_per_row():
    assert markdown.table(["model", "error %"], [["`vgg`", "7.77"], ["", "–"]]) == [
        "| model | error % |",
        "|---|---|",
        "| `vgg` | 7.77 |",
        "|  | – |",
    ]


def test_numbers_are_rounded_and_a_missing_one_is_a_dash():
    assert markdown.number(0.98765, 3) == "0.988"
    assert markdown.number(0, 1) == "0.0"
    assert markdown.number(None, 3) == markdown.MISSING
    assert markdown.percent(0.07774) == "7.77"
    assert markdown.percent(0.5, 0) == "50"
    assert markdown.percent(0.0) == "0.00"
    assert markdown.percent(None) == markdown.MISSING


def test_scale_lists_what_was_reduced():
    assert markdown.scale(["width 0.5 of the paper's", "6 epochs of 200"]) == (
        "width 0.5 of the paper's; 6 epochs of 200"
    )
    assert markdown.scale([]) == "full size"


def test_write_leaves_both_files_and_prints_the_text(tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    markdown.write(folder, "table", "## cifar10\n", [{"error": 0.25}])
    assert (folder / "table.md").read_text() == "## cifar10\n"
    assert json.loads((folder / "table.json").read_text()) == [{"error": 0.25}]
    assert sorted(path.name for path in folder.iterdir()) == ["table.json", "table.md"]
    printed = capsys.readouterr().out
    assert printed == f"## cifar10\n\nWritten to {folder}/table.md and table.json.\n"
