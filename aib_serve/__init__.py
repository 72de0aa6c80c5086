"""Clients of served models, for machines without TensorFlow and Keras."""
