"""The command `aib-keras`: outside the library, so that its help needs no Keras and no backend."""
