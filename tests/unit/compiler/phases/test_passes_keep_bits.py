"""Every phase pass: what was computed before it is computed after it, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from lowered import stages
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.parser import parse_module
from snncc.compiler.ir.printer import print_module
from snncc.compiler.ir.verify import verify
from strategies_networks import random_inputs, random_network


def same_bits(module: Module, seed: int, numerics: str) -> None:
    inputs = random_inputs(module, seed)
    verify(module)
    work, given_ = module, inputs
    before = evaluate(module, "main", inputs, numerics)
    for name, work in stages(module):
        given_ = {a.name: inputs[a.name] for a in work.func("step").body.args}
        after = evaluate(work, "step", given_, numerics, seed=5)
        assert before.keys() <= after.keys(), name
        for key, value in before.items():
            np.testing.assert_array_equal(after[key], value, err_msg=f"{key} after {name}")
        before = after
    text = print_module(work)
    arrays = work.resources
    again = parse_module(text, load_resource=lambda name, sha, type_, where: arrays[name]).module
    assert print_module(again) == text
    for key, value in evaluate(again, "step", given_, numerics, seed=5).items():
        np.testing.assert_array_equal(before[key], value, err_msg=f"{key} after a text round trip")


@settings(max_examples=examples(30))
@given(st.integers(0, 2**31))
def test_random_networks_in_binary16(seed: int) -> None:
    same_bits(random_network(seed), seed, "fp16")


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_in_float64_and_inference(seed: int) -> None:
    same_bits(random_network(seed), seed, "float64")
    same_bits(random_network(seed, training=False), seed, "fp16")
