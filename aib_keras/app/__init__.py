"""A page in the browser where one can see a trained model look: `python -m aib_keras.app`."""
