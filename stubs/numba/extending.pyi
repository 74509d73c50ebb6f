from collections.abc import Callable
from typing import Any, overload

@overload
def intrinsic(function: Callable[..., Any], /) -> Callable[..., Any]: ...
@overload
def intrinsic(*, prefer_literal: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
