"""Programs whose settings are absl flags."""

import sys

from absl import app, flags

_HELP = {"-h", "-help", "--help"}


def run(body, modules, text):
    """Runs a program, or prints its help and ends it.

    absl's own `--help` leaves out the flags that are defined outside the file of the program.

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
    app.run(body)
