"""The compiler's door to diagnostics, which all layers share.

They live in :mod:`snncc.isa.diagnostics.diag`.

Codes are defined in :mod:`snncc.isa.diagnostics.errors`, nowhere else.
"""

from snncc.isa.diagnostics.diag import (
    MAX_ERRORS,
    CompileError,
    Diagnostic,
    DiagnosticSink,
    Note,
    Severity,
    SourceFile,
    Span,
    Where,
    fail,
    render,
    render_all,
)
from snncc.isa.diagnostics.errors import CODES, GROUPS, ErrorCode, define

__all__ = [
    "CODES",
    "GROUPS",
    "MAX_ERRORS",
    "CompileError",
    "Diagnostic",
    "DiagnosticSink",
    "ErrorCode",
    "Note",
    "Severity",
    "SourceFile",
    "Span",
    "Where",
    "define",
    "fail",
    "render",
    "render_all",
]
