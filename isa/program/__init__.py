"""The object file: model, reading, writing, layouts."""
