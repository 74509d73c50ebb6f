from typing import Any

def void(*args: Any) -> Any: ...

float32: Any
int32: Any
int64: Any
uint16: Any
uint64: Any
