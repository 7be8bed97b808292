"""A recipe -> a folder under ``models/``, by ``model.compile``, ``model.fit`` and Keras's callbacks."""
