"""The part of numba that snncc uses, for the type checkers: numba publishes no types.

Read by mypy and pyright only. Decorators keep the signature of what they compile; add a name here
when the code starts to use it.
"""

from collections.abc import Callable
from typing import Any, TypeVar, overload

from . import types as types

class _Config:
    CACHE_DIR: str

config: _Config

_F = TypeVar("_F", bound=Callable[..., Any])

__version__: str

@overload
def njit(signature: _F, /) -> _F: ...
@overload
def njit(
    signature: str | list[str] | None = None,
    /,
    *,
    boundscheck: bool = False,
    cache: bool = False,
    error_model: str = "python",
    fastmath: bool | set[str] = False,
    forceobj: bool = False,
    inline: str = "never",
    locals: dict[str, Any] = ...,
    nogil: bool = False,
    parallel: bool = False,
) -> Callable[[_F], _F]: ...

prange = range

def get_num_threads() -> int: ...
def set_num_threads(n: int, /) -> None: ...
