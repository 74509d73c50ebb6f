"""The compiler's back end: core IR to object files."""

from snncc.compiler.backend.compile import CompileOptions, CompileResult, compile_module

__all__ = ["CompileOptions", "CompileResult", "compile_module"]
