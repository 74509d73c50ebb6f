"""The micro-operations of the element-wise units, their code and text."""
