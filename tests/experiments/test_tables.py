"""Tables and cards from results, on results made by hand."""

import dataclasses
import json

import pytest

from aib_keras.experiments import TrainingConfig, cards, markdown, photo_settings, results, tables


def make_result(model="vgg", seed=0, error=0.25, **changes):
    """The content of a result.json of a short training on CIFAR-10."""
    config = {
        **vars(TrainingConfig(model=model, seed=seed, epochs=6, train_examples=20_000)),
        "settings": {"width": 0.125},
        **changes.pop("config", {}),
    }
    return {
        "model": model,
        "dataset": config["dataset"],
        "num_classes": 10,
        "input_shape": [32, 32, 3],
        "train_examples": 20_000,
        "evaluated_on": "test",
        "evaluated_examples": 10_000,
        "seed": seed,
        "epochs": config["epochs"],
        "test_error_last_epoch": error,
        "test_error_best_epoch": error - 0.01,
        "last_epoch": {"nll": 0.5, "loss": 0.6},
        "parameters": 1234,
        "seconds": 120.0,
        "config": config,
        "versions": {"keras": "3"},
        "workdir": f"runs/{model}-{seed}",
        **changes,
    }


def write_run(folder, name, result, **others):
    run = folder / name
    run.mkdir(parents=True)
    for file, content in {"result": result, **others}.items():
        (run / f"{file}.json").write_text(json.dumps(content))


def test_each_scale_has_a_row_and_each_seed_counts_once():
    full = {"width": 1.0}
    large = make_result(config={"settings": full, "epochs": 200, "train_examples": None})
    found = tables.cells([make_result(), large, make_result(seed=1)], "vgg", "cifar10", 7.77)
    assert [[r["seed"] for r in cell.results] for cell in found] == [[0], [0, 1]]
    assert [cell.summary()["full_size"] for cell in found] == [True, False]
    assert [cell.results for cell in tables.cells([], "vgg", "cifar10")] == [[]]
    with pytest.raises(ValueError, match="both runs of vgg on cifar10 with seed 0"):
        tables.cells([make_result(), make_result(workdir="copy")], "vgg", "cifar10")


def test_published_weights_of_several_names_have_rows_of_their_own():
    names = "vgg/cifar10", "vgg/cifar10-mc"
    results = [make_result(published=name) for name in names]
    found = tables.cells([*results, make_result()], "vgg", "cifar10")
    assert [cell.title for cell in found] == ["vgg", *names]
    assert [cell.summary()["title"] for cell in found] == ["vgg", *names]
    assert "| `vgg/cifar10-mc` |" in tables.section(found)


def test_the_calibration_of_one_data_set_is_not_that_of_another(tmp_path):
    result = make_result(expected_calibration_error=0.034)
    write_run(tmp_path, "vgg", result, transfer={"stl10_test": {"test_error_last_epoch": 0.5}})
    found = tables.read_results(tmp_path)
    cells = [tables.cell(found, "vgg", name) for name in ("cifar10", "stl10_test")]
    assert [cell.percent("expected_calibration_error") for cell in cells] == [
        (pytest.approx(3.4), None),
        None,
    ]


def test_a_mean_is_over_all_seeds_or_there_is_none():
    without = make_result(seed=1)
    del without["test_error_best_epoch"]
    cell = tables.cell([make_result(), without], "vgg", "cifar10")
    assert cell.percent("test_error_best_epoch") is None
    assert cell.percent("test_error_last_epoch") == (25.0, 0.0)


def test_mean_and_standard_deviation_over_seeds():
    results = [make_result(seed=seed, error=error) for seed, error in ((1, 0.3), (0, 0.2))]
    cell = tables.cell([*results, make_result("vgg_gap")], "vgg", "cifar10", paper=7.77)
    mean, std = cell.percent("test_error_last_epoch")
    assert mean == pytest.approx(25.0)
    assert std == pytest.approx(10 / 2**0.5)
    summary = cell.summary()
    assert summary["seeds"] == [0, 1]
    assert summary["test_error_best_epoch_mean"] == pytest.approx(24.0)
    assert summary["full_size"] is False
    row = tables.section([cell]).splitlines()[-1]
    assert "| `vgg` | 7.77 | 25.00 ± 7.07 | 24.00 ± 7.07 |" in row
    assert "width 0.125 of the paper's; 6 epochs of 200; 20,000 training images only" in row


def test_one_seed_has_no_spread():
    cell = tables.cell([make_result()], "vgg", "cifar10")
    assert cell.percent("test_error_last_epoch") == (25.0, None)
    assert cell.summary()["test_error_last_epoch_std"] is None


def test_columns_without_a_value_are_left_out_and_missing_models_stay():
    cells = [
        tables.cell([make_result()], "vgg", "cifar10", 7.77),
        tables.cell([], "wrn", "cifar10", 4.0),
    ]
    lines = tables.section(cells).splitlines()
    assert "nats" not in lines[2]
    assert "paper" in lines[2]
    assert lines[-1].startswith("| `wrn` | 4.00 | – |")
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_trainings_with_other_settings_are_not_averaged():
    other = make_result(seed=1, config={"epochs": 7})
    with pytest.raises(ValueError, match="runs/vgg-0 and runs/vgg-1.*different settings"):
        tables.cell([make_result(), other], "vgg", "cifar10")


def test_what_does_not_decide_a_result_may_differ():
    moved = make_result(seed=1, config={"seed": 1, "data_dir": "/elsewhere", "validation_freq": 3})
    assert len(tables.cell([make_result(), moved], "vgg", "cifar10").results) == 2


def test_validation_errors_do_not_enter_a_table():
    result = make_result()
    result["validation_error_last_epoch"] = result.pop("test_error_last_epoch")
    with pytest.raises(ValueError, match="held-out"):
        tables.cell([result], "vgg", "cifar10")


def test_results_are_read_with_what_was_found_on_other_data(tmp_path):
    found = {"stl10_test": {"test_error_last_epoch": 0.6, "test_error_shared_classes": 0.5}}
    write_run(tmp_path, "a", make_result(), transfer=found)
    write_run(tmp_path, "b", make_result("vgg_gap"))
    (tmp_path / "unfinished").mkdir()
    results = tables.read_results(tmp_path)
    assert [(r["model"], r["dataset"]) for r in results] == [
        ("vgg", "cifar10"),
        ("vgg", "stl10_test"),
        ("vgg_gap", "cifar10"),
    ]
    cell = tables.cell(results, "vgg", "stl10_test", 55.09)
    assert cell.percent("test_error_last_epoch")[0] == pytest.approx(60)
    assert cell.percent("test_error_shared_classes")[0] == pytest.approx(50)
    # What belongs to CIFAR-10 is not told of STL-10.
    assert cell.percent("test_error_best_epoch") is None
    assert cell.last_epoch("nll") is None


def test_a_work_directory_is_read_as_well_as_a_folder_of_them(tmp_path):
    write_run(tmp_path, "a", make_result())
    assert tables.read_trainings([tmp_path / "a"]) == tables.read_trainings([tmp_path])
    assert len(tables.read_trainings([tmp_path])) == 1


def test_table_files(tmp_path):
    cells = [tables.cell([make_result()], "vgg", "cifar10", 7.77)]
    summaries = [cell.summary() for cell in cells]
    markdown.write(tmp_path / "new", "table1", tables.section(cells), summaries)
    assert "`vgg`" in (tmp_path / "new" / "table1.md").read_text()
    (content,) = json.loads((tmp_path / "new" / "table1.json").read_text())
    assert (content["paper"], content["test_error_last_epoch_mean"]) == (7.77, 25.0)


def test_full_size_is_told_from_less():
    full = {"settings": {}, "epochs": 200, "train_examples": None}
    assert cards.reductions(make_result(config=full)) == []
    for change, phrase in (
        ({"settings": {"width": 0.5}}, "width 0.5"),
        ({"epochs": 199}, "199 epochs of 200"),
        ({"train_examples": 20_000}, "20,000 training images"),
        ({"train_split": "train[:20000]"}, "20,000 training images"),
        ({"test_split": "test[:10]"}, "test[:10]"),
    ):
        (found,) = cards.reductions(make_result(config={**full, **change}))
        assert phrase in found
    # Ended by `patience`.
    assert cards.reductions(make_result(config=full, epochs=40)) == ["40 epochs of 200"]
    small = make_result("vgg16_aib_qt", config=full, input_shape=[80, 80, 3])
    random = "random weights at the start, not those of ImageNet"
    assert cards.reductions(small) == [random, "80 pixels a side, not 224"]
    started = {**full, "settings": {"backbone_weights": "imagenet"}}
    large = make_result("vgg16_aib_qt", config=started, input_shape=[224, 224, 3])
    assert cards.reductions(large) == []
    assert cards.reductions(make_result(config=full, input_shape=[80, 80, 3])) == []


def test_a_card_says_what_the_model_is_and_is_not():
    result = make_result("vgg_pan", config={"dataset": "cub50"})
    text = cards.model_card(result)
    assert text.startswith("# vgg_pan on cub50\n\nVGG with progressive attention")
    for phrase in (
        "our interpretation of a row of the paper's Table 1",
        "first 50 of CUB-200-2011's 200 classes",
        "from scratch",
        "| error of a guess | 90.00 % |",
        "| error, last epoch | 25.00 % |",
        "| error, best epoch | 24.00 % |",
        "not comparable with the paper's",
    ):
        assert phrase in text
    result["config"]["settings"]["backbone_weights"] = "imagenet"
    text = cards.model_card(result)
    assert "Started from ImageNet weights" in text
    assert "from scratch" not in text


def test_a_card_of_own_photos_says_nothing_about_the_paper(tmp_path):
    folder = tmp_path / "birds"
    folder.mkdir()
    config = dataclasses.replace(photo_settings.DEFAULTS, dataset=str(folder), precision="float32")
    result = make_result(config.model, config=vars(config), class_names=["robin", "wren"])
    text = cards.model_card(result)
    assert text.startswith(f"# {config.model} on birds\n\nEfficientNet-Lite0 with quantised")
    for phrase in (
        f"| images | {folder} |",
        "| names of the classes | robin, wren |",
        "Started from ImageNet weights (all is frozen but the attention, the bottleneck and ",
        f"    aib-keras photos --dataset={folder} --precision=float32\n",
    ):
        assert phrase in text
    for phrase in ("paper", "of 200", "cifar", "backbone_weights"):
        assert phrase not in text


def test_trainings_of_one_name_and_seed_are_told_apart():
    named = {"model": "vgg", "published": "vgg/cifar10", "seed": 0, "workdir": "runs/zoo/vgg"}
    same = [{"model": "vgg", "seed": 0, "workdir": f"runs/{name}"} for name in ("first", "second")]
    other = {"model": "vgg", "seed": 1, "workdir": "runs/third"}
    titles = ["vgg/cifar10", "vgg (first)", "vgg (second)", "vgg"]
    assert results.titles([named, *same, other]) == titles
