import time

import numpy as np
import pycolmap

from splatdeblur.capture import Capture, Frame
from splatdeblur.poses import bench as benches
from splatdeblur.poses.bench import Bench, relensed


def focals(database) -> list[float]:
    opened = pycolmap.Database.open(database)
    try:
        return [camera.focal_length for camera in opened.read_all_cameras()]
    finally:
        opened.close()


def test_a_copy_of_a_database_gets_the_lens_that_a_model_found_and_the_database_keeps_its_own(tmp_path):
    database = tmp_path / "features.db"
    opened = pycolmap.Database.open(database)
    first, second = (
        opened.write_camera(pycolmap.Camera(model="SIMPLE_RADIAL", width=480, height=320, params=[576, 240, 160, 0]))
        for _ in range(2)
    )
    opened.close()
    model = pycolmap.Reconstruction()
    found = pycolmap.Camera(
        model="SIMPLE_RADIAL", width=480, height=320, params=[461, 240, 160, 0.01], camera_id=second
    )
    model.add_camera_with_trivial_rig(found)
    copy = relensed(database, model)
    assert first != second and focals(copy) == [576, 461], "the lens of photos that joined no model stays"
    assert focals(database) == [576, 576]
    assert focals(relensed(database, model)) == [576, 461], "an older copy is no obstacle"


def test_no_model_is_adjusted_after_the_deadline(tmp_path, monkeypatch):
    capture = Capture(tuple(Frame(f"{i}.png", f"{i}.png") for i in range(3)), 480, 320, {})
    model, calls = pycolmap.Reconstruction(), []
    monkeypatch.setattr(benches, "adjusted", lambda given, without: calls.append(given) or pycolmap.Reconstruction())
    late = Bench(tmp_path, tmp_path, capture, 0, time.monotonic() - 1)
    assert late.adjust(model) is model and not calls
    in_time = Bench(tmp_path, tmp_path, capture, 0, np.inf)
    assert in_time.adjust(model) is not model and len(calls) == 1
