"""Presets and settings: strict, and back from YAML as they went in."""

import pytest
import yaml

from splatdeblur.config import Config, checked, config_from_plain, load_preset, plain, presets, with_settings
from splatdeblur.errors import ConfigError
from splatdeblur.exposure import Bezier, Static


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_survives_yaml(name):
    config = load_preset(name)
    assert config_from_plain(yaml.safe_load(yaml.safe_dump(plain(config)))) == config


def test_the_presets_of_the_contract_are_there():
    baselines = {"splat", "deblurgs", "bad-gaussians", "bags", "deblurring-3dgs", "comogaussian"}
    assert {"auto", "fast", "quality"} | baselines <= set(presets())


def test_an_unknown_preset_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean \"deblurgs\""):
        load_preset("debblurgs")


def test_a_misspelt_key_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"config.train.stepz does not exist; did you mean \"steps\""):
        with_settings(Config(), ("train.stepz=3",))


@pytest.mark.parametrize(
    ("assignment", "needed"),
    [
        ("train.steps=many", "type int"),
        ("train.steps=true", "type int"),
        ("train.motion={type: Helix}", "there are"),
        ("train.shutter.sampling=start", "there are middles, ends"),
        ("train.rates.motion=[1]", "needs 2"),
        ("train.steps", "key.key=value"),
        ("train=3", "needs keys"),
    ],
)
def test_values_of_the_wrong_kind_are_errors_that_say_what_is_needed(assignment, needed):
    with pytest.raises(ConfigError, match=needed):
        with_settings(Config(), (assignment,))


def test_a_union_member_is_chosen_by_type_and_keeps_its_other_fields():
    config = with_settings(Config(), ("train.motion={type: Bezier, order: 5}",))
    assert config.train.motion == Bezier(order=5)
    assert with_settings(config, ("train.motion.order=7",)).train.motion == Bezier(order=7)
    assert with_settings(config, ("train.motion.type=Static",)).train.motion == Static()


def test_yaml_numbers_without_a_point_are_floats_where_floats_are_needed():
    assert with_settings(Config(), ("train.loss.dssim=1e-3",)).train.loss.dssim == 1e-3
    assert with_settings(Config(), ("train.time_limit=60",)).train.time_limit == 60.0


@pytest.mark.parametrize("name", presets())
def test_every_preset_makes_sense(name):
    assert checked(load_preset(name)) == load_preset(name)


@pytest.mark.parametrize(
    ("assignment", "needed"),
    [
        ("train.steps=-1", "train.steps is -1; it must be at least 0"),
        ("train.steps=-5", "train.steps is -5"),
        ("train.seed=-1", "train.seed is -1"),
        ("train.time_limit=-1", "at least 0"),
        ("train.sh_degree=7", "0 to 3"),
        ("train.motion.order=0", "train.motion.order is 0"),
        ("train.rates.focus=[0,0]", "both ends must be above 0"),
        ("train.lens.kernels={type: PixelKernels, sizes: [4]}", "it needs odd numbers"),
        ("train.lens.kernels={type: PixelKernels, sizes: [3, 5, 7, 9]}", "4 sizes for 3 stages"),
        ("train.shutter.max_subframes=0", "train.shutter.max_subframes is 0"),
        ("train.density.every=0", "train.density.every is 0"),
        ("train.crop_pixels=10", "4096 or more, or 0"),
        ("train.rates.means=[0, 0]", "both ends must be above 0"),
        ("train.resolution.levels=[]", "one end fewer than levels"),
        ("train.resolution.levels=[0, 1]", "levels of 1 or more"),
        ("train.resolution.until=[0.5, 0.2]", "no earlier than the one before"),
        ("train.loss.path=-1", "train.loss.path is -1"),
        ("downscale=0.5", "1 or more, or 0"),
        ("train.sight={type: Widened, most: 0.5}", "train.sight.most is 0.5"),
        ("prepare.max_size=0", "prepare.max_size is 0"),
    ],
)
def test_numbers_that_make_no_sense_are_errors_that_say_what_they_may_be(assignment, needed):
    with pytest.raises(ConfigError, match=needed):
        checked(with_settings(Config(preset="auto"), (assignment,)))


@pytest.mark.parametrize("value", [".nan", "nan", ".inf", "-.inf"])
def test_numbers_must_be_finite(value):
    with pytest.raises(ConfigError, match="finite number"):
        with_settings(Config(), (f"train.loss.dssim={value}",))


def test_a_value_that_is_no_yaml_is_an_error():
    with pytest.raises(ConfigError, match="not YAML"):
        with_settings(Config(), ("train.loss.dssim=[",))
