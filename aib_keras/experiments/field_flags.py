"""Command-line flags made from the fields of a configuration."""

import ast
import dataclasses
import inspect
import re
import types
import typing

from absl import app, flags

from aib_keras import zoo
from aib_keras.experiments.paper_schedules import paper_stages
from aib_keras.training.workdir import deciding_fields
from aib_keras.utils.files import read_json
from aib_keras.utils.suggestions import did_you_mean

# Fields that have a flag of another form.
_SETTINGS = "settings"
# Arguments of a zoo function that a training gives itself; it has images in [0, 255].
_OF_THE_DATA = {"num_classes", "input_shape", "weights", "include_preprocessing"}


def define(defaults, values=flags.FLAGS):
    """Defines a flag for every field of a configuration, with its help and choices.

    `settings`, a dict, is set by `--set=name=value`, and one of them by `--width`. `--config` reads
    a file that a training has left; flags on the command line count more than the file.

    Args:
        defaults: A configuration whose values are the defaults of the flags.
        values: `absl.flags.FlagValues` to define them in.
    """
    to = {"flag_values": values}
    flags.DEFINE_string("config", None, "A config.json of a training, to start from.", **to)
    flags.DEFINE_float("width", None, "Multiplies every channel count; 1 is the paper's.", **to)
    text = "name=value of a setting of the model, an argument of its zoo function; repeatable."
    if defaults.settings:
        given = ", ".join(f"{name}={value}" for name, value in defaults.settings.items())
        text += f" Defaults here: {given}"
    flags.DEFINE_multi_string("set", [], text, **to)
    for field in dataclasses.fields(defaults):
        if field.name != _SETTINGS:
            _define(field, getattr(defaults, field.name), to)


def _define(field, default, to):
    name, help, choices = field.name, field.metadata["help"], field.metadata["choices"]
    kind = _kind(field.type)
    if choices is not None:
        flags.DEFINE_enum(name, default, choices, help, **to)
    elif kind is bool:
        flags.DEFINE_bool(name, default, help, **to)
    elif kind is int:
        flags.DEFINE_integer(name, default, help, **to)
    elif kind is float:
        flags.DEFINE_float(name, default, help, **to)
    elif kind is tuple:
        flags.DEFINE_list(name, _tuple_text(default).split(",") if default else [], help, **to)
    else:
        flags.DEFINE_string(name, default, help, **to)


def _kind(annotation):
    """Returns the type of a field, without the None that it may also be."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (kind for kind in typing.get_args(annotation) if kind is not type(None))
    return typing.get_origin(annotation) or annotation


def read(defaults, model_settings=None, values=flags.FLAGS):
    """Returns the configuration that the parsed flags ask for.

    Args:
        defaults: As given to `define`.
        model_settings: Optional dict from a model's name to settings of it that count less than
            `--set` and `--width`.
        values: As given to `define`.

    Raises:
        absl.app.UsageError: for a bad value. It names flags.
    """
    try:
        start = defaults
        if values.config is not None:
            content = read_json(values.config)
            if "model" not in content:
                raise ValueError(
                    f"{values.config} is of `training.fit`, and names neither the model nor the "
                    "data. Use that of a training by a command or a recipe."
                )
            start = _without_derived(type(defaults).from_json(content), values)
        changes = {
            field.name: _value(field, values[field.name].value)
            for field in dataclasses.fields(defaults)
            if field.name != _SETTINGS and values[field.name].present
        }
        settings = dict(start.settings)
        if values.config is None:
            settings |= (model_settings or {}).get(values.model, {})
            # The defaults of a recipe are for its own model; another one may lack the setting.
            known = inspect.signature(zoo.get(values.model)).parameters
            settings = {name: value for name, value in settings.items() if name in known}
        if values.width is not None:
            settings["width"] = values.width
        settings |= dict(map(_assignment, values.set))
        _check_settings(values.model if values["model"].present else start.model, settings)
        return dataclasses.replace(start, **changes, settings=settings)
    except (ValueError, OSError) as error:
        raise app.UsageError(as_flags(str(error), defaults)) from None


def _without_derived(config, values):
    """Returns a configuration of a file without what other values on the command line decide.

    A file has the values that None, "auto" and "paper" stood for.
    """
    asked = {
        name: values[name].value
        for name in ("model", "optimizer", "epochs")
        if values[name].present
    }
    changes = {}
    if config.schedule_steps and config.schedule_steps == paper_stages(config.model):
        changes = {"schedule": "paper", "schedule_steps": ()}
    if values["schedule"].present and values["schedule"].value != "steps":
        changes["schedule_steps"] = ()
    bare = {"learning_rate": None, "batch_size": None, "schedule": "auto", "schedule_steps": ()}
    usual = dataclasses.replace(config, **bare).resolved()
    if dataclasses.replace(config, **bare, **asked).resolved().optimizer != usual.optimizer:
        # Those that the file does not have because of its optimiser stay.
        changes |= {
            name: None
            for name in ("learning_rate", "batch_size")
            if getattr(config, name) == getattr(usual, name)
        }
        if config.schedule in (usual.schedule, "steps"):
            changes |= {"schedule": "auto", "schedule_steps": ()}
    return dataclasses.replace(config, **changes)


def _check_settings(model, settings):
    """Raises a ValueError for a setting that the model does not have."""
    known = set(inspect.signature(zoo.get(model)).parameters) - _OF_THE_DATA
    for name in settings:
        if name not in known:
            hint = did_you_mean(name, known, count=1)
            raise ValueError(
                f"--set={name}={settings[name]}: {model} has no setting {name!r}.{hint} Its "
                f"settings: {', '.join(sorted(known))}."
            )


def as_flags(message, defaults):
    """Returns an error message of the library with its arguments named as flags."""
    names = {field.name for field in dataclasses.fields(defaults)} | {"workdir"}
    return re.sub(
        r"`(\w+)`", lambda found: f"--{found[1]}" if found[1] in names else found[0], message
    )


def arguments(config, base):
    """Returns the flags, a list of strings, that make `config` of the defaults `base`.

    A setting of the model that `base` has and `config` has not, no flag can take away.
    """
    found, deciding = [], deciding_fields(config)
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        if name == _SETTINGS:
            found += [
                f"--set={key}={_setting_text(each)}"
                for key, each in value.items()
                if key not in base.settings or base.settings[key] != each
            ]
        elif value != getattr(base, name) and value is not None and name in deciding:
            if isinstance(value, bool):
                found.append(f"--{'' if value else 'no'}{name}")
            elif isinstance(value, tuple):
                found.append(f"--{name}={_tuple_text(value)}")
            else:
                found.append(f"--{name}={value}")
    return found


def _tuple_text(value):
    """(0.2, 0.8) as "0.2,0.8", and ((0, 0.1), (0.5, 1)) as "0:0.1,0.5:1"."""
    return ",".join(
        f"{each[0]:g}:{each[1]:g}" if isinstance(each, tuple) else f"{each:g}" for each in value
    )


def _value(field, value):
    if _kind(field.type) is not tuple:
        return value
    try:
        return tuple(
            tuple(map(float, text.split(":"))) if ":" in text else float(text) for text in value
        )
    except ValueError:
        example = "0:0.1,0.5:0.01" if field.name.endswith("steps") else "0.2,0.8"
        raise ValueError(
            f"`{field.name}` {','.join(value)}: expected numbers, such as {example}."
        ) from None


def _setting_text(value):
    """Returns the text that `_assignment` reads as `value`, in quotes only if it needs them."""
    plain = isinstance(value, str) and _assignment(f"name={value}")[1] == value
    return value if plain else repr(value)


def _assignment(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set={text}: expected name=value.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
