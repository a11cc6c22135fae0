"""Presets and settings: strict, and back from YAML as they went in."""

import pytest
import yaml

from splatdeblur.config import Config, config_from_plain, load_preset, plain, presets, with_settings
from splatdeblur.errors import ConfigError
from splatdeblur.exposure import Bezier, Static


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_survives_yaml(name):
    config = load_preset(name)
    assert config_from_plain(yaml.safe_load(yaml.safe_dump(plain(config)))) == config


def test_the_presets_of_the_contract_are_there():
    assert {"auto", "splat", "deblurgs", "bad-gaussians"} <= set(presets())


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
