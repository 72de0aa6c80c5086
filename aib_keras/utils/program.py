"""Programs whose settings are absl flags."""

import os
import re
import sys

from absl import app, flags

_HELP = {"-h", "-help", "--help"}
# What absl says of a required flag.
_MISSING = re.compile(r"flag --(\w+)=None: Flag --\1 must have a value other than None\.")


def run(body, modules, text):
    """Runs a program, or prints its help and ends it.

    absl's own `--help` leaves out the flags that are defined outside the file of the program. An
    `absl.app.UsageError` and a bad flag end the program with their message, which absl prints below
    the usage.

    Args:
        body: Function of the arguments that are not flags, as `absl.app.run` calls it.
        modules: Names of the modules whose flags are the program's settings.
        text: String, what the help says above the flags.
    """
    if _HELP & set(sys.argv[1:]):
        print(text.strip())
        for module in modules:
            # The first lines name the module.
            print("", *flags.FLAGS.module_help(module).splitlines()[2:], sep="\n")
        return
    app.run(lambda argv: _with_short_errors(body, argv), flags_parser=_parse)


def check_no_arguments(argv):
    """Raises an `absl.app.UsageError` for arguments that are not flags, which nothing would read.

    Args:
        argv: Strings, the name of the program and its arguments.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(argv[1:])}. Settings are flags.")


def number(name, text, kind=float):
    """Returns one of the values of a flag that is a list.

    Args:
        name: Name of the flag.
        text: String, the value.
        kind: `float` or `int`.

    Raises:
        absl.app.UsageError: if it is no such number.
    """
    try:
        return kind(text)
    except ValueError:
        expected = "integers" if kind is int else "numbers"
        raise app.UsageError(f"--{name}: expected {expected}, got {text!r}.") from None


def numbers(flag, kind=float):
    """Returns the values of a flag that is a list, an `absl.flags.FlagHolder`, as `number`."""
    return [number(flag.name, text, kind) for text in flag.value]


def check_choices(flag, choices):
    """Raises an `absl.app.UsageError` for a value of a list that is none of the choices.

    Args:
        flag: `absl.flags.FlagHolder` of a list, or of None.
        choices: Strings.
    """
    if unknown := [value for value in flag.value or () if value not in choices]:
        raise app.UsageError(
            f"--{flag.name}: unknown value {', '.join(unknown)}. Expected some of "
            f"{', '.join(choices)}."
        )


def parse(argv):
    """Parses flags as `absl.app.run` does, for its `flags_parser`; `--name=~/path` is at home.

    Args:
        argv: Strings, the name of the program and its arguments.

    Returns:
        The arguments that are not flags. A bad flag ends the program with its message.
    """
    return app.parse_flags_with_usage(_at_home(argv))


def _at_home(argv):
    """Replaces a `~` that follows an equals sign, which shells leave as it is."""
    arguments = (argument.partition("=") for argument in argv)
    return [
        # The configuration of a training has its data set as it was given.
        f"{name}={os.path.expanduser(value)}"
        if equals and name.startswith("-") and name.lstrip("-") != "dataset"
        else f"{name}{equals}{value}"
        for name, equals, value in arguments
    ]


def _parse(argv):
    return _with_short_errors(lambda argv: flags.FLAGS(_at_home(argv)), argv)


def _with_short_errors(function, argv):
    try:
        return function(argv)
    except (app.UsageError, flags.Error) as error:
        text = _MISSING.sub(r"--\1 is missing.", str(error))
        print(f"{text}\n\n{sys.argv[0]} --help shows the settings.", file=sys.stderr)
        sys.exit(getattr(error, "exitcode", 1))
