"""A page in the browser that shows where trained models look: `python -m aib_keras.app`."""
