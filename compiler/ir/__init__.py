"""The intermediate forms: types, operations, text, verifier, interpreter."""
