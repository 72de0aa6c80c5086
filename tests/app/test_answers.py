"""The answers of the page without a server and without a real model."""

import types

import numpy as np
import pytest
from PIL import Image

from aib_keras.app.choices import Choice, Choices
from aib_keras.app.predictions import MAP, Prediction
from aib_keras.data import EvaluationTransform

pytest.importorskip("gradio", reason="the page needs Gradio: pip install aib-keras[app]")


class Model:
    """Calls an image by its red."""

    maps = (MAP,)
    transform = EvaluationTransform((8, 8))

    def predict(self, images, with_grad_cam=False):
        assert not with_grad_cam
        maps = {MAP: np.eye(2, dtype=np.float32)}
        return [
            Prediction(np.array([0.25, 0.75]), f"red {image[0, 0, 0]}", maps, None)
            for image in images
        ]


@pytest.fixture
def sheet(tmp_path):
    from aib_keras.app.answers import Answers

    offered = Choices([Choice("model", "model", "photos", Model, (0,))])
    answers = Answers(offered, types.SimpleNamespace(), tmp_path)

    def call(*names):
        files = [{"path": str(tmp_path / name)} for name in names]
        return answers.sheet("model", files, MAP, 0.5, True)

    return call


def test_a_contact_sheet_has_the_first_files_by_name(sheet, tmp_path):
    names = [f"{index:02}.png" for index in range(62)]
    for red, name in enumerate(names):
        Image.new("RGB", (8, 8), (red, 0, 0)).save(tmp_path / name)
    (tmp_path / "00.png").write_bytes(b"")
    pictures, text = sheet(*reversed(names))
    assert [caption for _, caption in pictures] == [
        f"{red:02}.png: red {red} 75%" for red in range(1, 60)
    ]
    assert "**Images on the sheet: 59.** It is of the first 60 files" in text
    assert "- 00.png cannot be read" in text


def test_a_file_outside_the_uploads_is_an_error(sheet):
    from gradio import Error

    with pytest.raises(Error, match="not an uploaded file"):
        sheet("../outside.png")
