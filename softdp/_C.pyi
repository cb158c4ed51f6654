"""csrc/module/module.cpp."""

torch_version: str  # that it was built against
compiler: str

def instruction_set() -> str: ...
def self_test(threads: int = 1) -> tuple[float, float]: ...
