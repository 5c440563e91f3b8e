"""KeyedRandom: numbers belong to (seed, epoch, event, stream) and to nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cres.transforms import FROZEN_EPOCH, KeyedRandom
from reconstruction.random import processor_random
from reconstruction.random.keyed import box_muller, fill, mix64, unit_interval


def source(ids, seed=1, epoch=FROZEN_EPOCH):
    return KeyedRandom(seed, epoch, torch.as_tensor(ids, dtype=torch.int64))


@settings(deadline=None, max_examples=30)
@given(ids=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=12, unique=True), data=st.data())
def test_numbers_do_not_depend_on_batch_or_order(ids, data):
    order = data.draw(st.permutations(range(len(ids))))
    together = source(ids).normal(37, 2, stream="s")
    shuffled = source([ids[k] for k in order]).normal(37, 2, stream="s")
    torch.testing.assert_close(shuffled, together[list(order)], rtol=0, atol=0)
    torch.testing.assert_close(source(ids[:1]).normal(37, 2, stream="s"), together[:1], rtol=0, atol=0)


def test_blocks_of_work_do_not_show():
    """Large enough that the batch is drawn in several blocks of rows."""
    ids = torch.arange(50)
    whole = source(ids).normal(9001, 2, stream="s")
    for k in (0, 13, 49):
        torch.testing.assert_close(source(ids[k : k + 1]).normal(9001, 2, stream="s")[0], whole[k], rtol=0, atol=0)


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 40), channels=st.integers(1, 4), data=st.data())
def test_a_part_is_that_part_of_the_whole(rows, channels, data):
    start = data.draw(st.integers(0, rows - 1))
    count = data.draw(st.integers(1, rows - start))
    whole = source([3, -9]).normal(rows, channels, stream="s")
    part = source([3, -9]).normal_part(start, count, rows, channels, stream="s")
    torch.testing.assert_close(part, whole[:, start : start + count], rtol=0, atol=0)


def test_parts_of_a_long_draw_are_those_of_the_whole():
    rows = 100_001
    whole = source([5]).normal(rows, 2, stream="s")
    parts = [source([5]).normal_part(k, min(8192, rows - k), rows, 2, stream="s") for k in range(0, rows, 8192)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=0)


def test_every_part_of_the_key_counts():
    base = source([5]).normal(100, stream="a")
    assert torch.equal(base, source([5]).normal(100, stream="a"))
    others = [
        source([5], seed=2).normal(100, stream="a"),
        source([5], epoch=0).normal(100, stream="a"),
        source([6]).normal(100, stream="a"),
        source([5]).normal(100, stream="b"),
        source([5]).scoped("second").normal(100, stream="a"),
    ]
    for other in others:
        assert not torch.isclose(base, other).any()


def test_normal_numbers_are_normal():
    values = source(range(64)).normal(8192, 2, stream="noise").double().flatten().numpy()
    assert stats.kstest(values[::4], "norm").pvalue > 1e-3
    assert abs(values.mean()) < 5 / np.sqrt(values.size)
    assert abs(values.var() - 1) < 5 * np.sqrt(2 / values.size)
    assert abs((values**4).mean() - 3) < 5 * np.sqrt(96 / values.size)
    assert 4.5 < np.abs(values).max() < 7


def test_uniform_numbers_are_uniform_and_below_one():
    values = source(range(64)).uniform(8192, stream="phase")
    assert values.min() >= 0
    assert values.max() < 1
    assert stats.kstest(values.double().flatten().numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("step", [1, 2, 1 << 32, -1])
def test_neighbouring_events_and_epochs_are_independent(step):
    """Correlations of neighbours at any lag are those of independent numbers (5 σ)."""
    n = 4096
    ids = source([0, step]).normal(n, stream="noise").double().numpy()
    epochs = [source([0], epoch=e).normal(n, stream="noise")[0].double().numpy() for e in (0, 1)]
    seeds = [source([0], seed=s).normal(n, stream="noise")[0].double().numpy() for s in (0, step)]
    for a, b in (ids, epochs, seeds):
        correlation = np.fft.ifft(np.fft.fft(a) * np.conj(np.fft.fft(b))).real / n
        assert np.abs(correlation).max() < 5.5 / np.sqrt(n)


def test_hash_equals_splitmix64():
    """First outputs of the reference SplitMix64 with seed 1234567 (Vigna, prng.di.unimi.it/splitmix64.c)."""
    golden = 0x9E3779B97F4A7C15
    state = [(1234567 + (k + 1) * golden) % 2**64 for k in range(3)]
    words = torch.tensor([s - 2**64 if s >= 2**63 else s for s in state])
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [int(w) % 2**64 for w in mix64(words)] == expected


def test_odd_and_empty_shapes():
    assert source([1, 2]).normal(3, stream="s").shape == (2, 3)
    assert source([1, 2]).normal(stream="s").shape == (2,)
    assert source([]).normal(4, 2, stream="s").shape == (0, 4, 2)


KEYS = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 123456789])


def drawn_twice(on_processor, elsewhere):
    """The numbers of some keys as a processor draws them, and as an accelerator does."""
    ours, theirs = torch.empty(len(KEYS), 50_000), torch.empty(len(KEYS), 50_000)
    processor_random.fill(KEYS.numpy().view(np.uint64), on_processor, ours.numpy())
    fill(KEYS, elsewhere, theirs)
    return ours, theirs


def test_a_processor_draws_what_an_accelerator_draws():
    uniform, same = drawn_twice(processor_random.unit_interval, unit_interval)
    assert torch.equal(uniform, same)
    normal, close = drawn_twice(processor_random.box_muller, box_muller)
    torch.testing.assert_close(normal, close, rtol=1e-6, atol=1e-6)


def test_normal_numbers_equal_their_float64_twin():
    """Word by word from Python's integers: SplitMix64 of Vigna, then Box and Muller in double precision."""
    key, pairs = 987654321, 300
    words = []
    for j in range(1, pairs + 1):
        word = (key + j * 0x9E3779B97F4A7C15) % 2**64
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
        words.append(word ^ (word >> 31))
    halves = np.array(words, np.uint64).view(np.int32).astype(np.float64)
    magnitude = np.sqrt(-2 * np.log((halves[:pairs] % 2**31 + 0.5) / 2**31))
    phase = halves[pairs:] * np.pi / 2**31
    expected = np.concatenate([magnitude * np.cos(phase), magnitude * np.sin(phase)])
    out = np.empty((1, 2 * pairs), np.float32)
    processor_random.fill(np.array([key], np.uint64), processor_random.box_muller, out)
    np.testing.assert_allclose(out[0], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("bits", [0, 1, 2**31 - 1, -1, -(2**31)])
def test_the_ends_of_the_words_give_finite_numbers(bits):
    numbers = np.empty((1, 2), np.float32)
    processor_random.box_muller(np.array([[bits, bits]], np.int32), np.empty((1, 2), np.float32), numbers)
    assert np.isfinite(numbers).all()
