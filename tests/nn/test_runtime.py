"""The settings of a runtime that decide the bits of noise, besides the device."""

import pytest
import torch

from cifar10_s.nn.runtime import Runtime

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_defaults_that_made_published_noise():
    runtime = Runtime(CPU, bfloat16=False)
    assert (runtime.max_chunk, runtime.threads) == (125, 2)


def test_a_gpu_takes_more_images_at_a_time(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    assert Runtime.on("cpu").max_chunk == 125
    assert Runtime.on("cuda").max_chunk == 1000


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_is_fixed_inside_and_restored_after(threads):
    before = torch.get_num_threads()
    with Runtime(CPU, bfloat16=False, threads=threads).fixed_threads():
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == before


def test_a_gpu_has_its_own_threads():
    before = torch.get_num_threads()
    with Runtime(CUDA, bfloat16=True, threads=before + 1).fixed_threads():
        assert torch.get_num_threads() == before
