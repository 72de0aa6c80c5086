"""An extension of Griffe, which reads the docstrings for the API reference."""

import griffe


class OwnDocstrings(griffe.Extension):
    """Drops docstrings of attributes: those of an imported object are of its type, such as `int`.

    What an attribute is, the docstring of its class says.
    """

    def on_attribute_instance(self, *, attr, **kwargs):
        if "property" not in attr.labels:
            attr.docstring = None
