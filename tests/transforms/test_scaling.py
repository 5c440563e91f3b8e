"""Standardise: fitted state in the checkpoint, exact for 25.9 GHz, refuses to run unfitted."""

import copy
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cres.errors import UserError
from cres.transforms import Standardise


@settings(deadline=None, max_examples=50)
@given(arrays(np.float64, st.tuples(st.integers(2, 20), st.just(3)), elements=st.floats(-1e9, 1e9)))
def test_equals_numpy_and_is_invertible(values):
    scaler = Standardise(3)
    scaler.fit(torch.from_numpy(values))
    spread = values.std(axis=0)
    spread[spread <= 1e-12 * np.abs(values.mean(axis=0))] = 1.0
    out = scaler(torch.from_numpy(values))
    np.testing.assert_allclose(out.numpy(), (values - values.mean(axis=0)) / spread, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(scaler.inverse(out).numpy(), values, rtol=1e-12, atol=1e-5)


def test_a_carrier_keeps_its_digits():
    carrier = 25.905e9 + torch.arange(10, dtype=torch.float64)[:, None]
    scaler = Standardise(1)
    scaler.fit(carrier)
    torch.testing.assert_close(scaler.inverse(scaler(carrier)), carrier, rtol=0, atol=1e-4)


def test_constant_column_is_shifted_only():
    scaler = Standardise(1)
    scaler.fit(torch.full((5, 1), 0.1))
    torch.testing.assert_close(scaler(torch.tensor([[0.1]])), torch.zeros(1, 1), atol=1e-7, rtol=0)


def test_state_travels_through_a_safe_checkpoint():
    scaler = Standardise(2)
    scaler.fit(torch.randn(10, 2))
    buffer = io.BytesIO()
    torch.save(scaler.state_dict(), buffer)
    buffer.seek(0)
    other = Standardise(2)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    values = torch.randn(3, 2)
    torch.testing.assert_close(other(values), scaler(values), rtol=0, atol=0)


def test_unfitted_refuses_and_says_how():
    with pytest.raises(UserError, match=r"call fit\(values\)"):
        Standardise(2)(torch.zeros(1, 2))
    with pytest.raises(UserError, match="not fitted"):
        Standardise(2).inverse(torch.zeros(1, 2))
    unfitted = Standardise(2)
    unfitted.load_state_dict(Standardise(2).state_dict())
    with pytest.raises(UserError, match="not fitted"):
        unfitted(torch.zeros(1, 2))


@pytest.mark.parametrize("values", [torch.zeros(0, 2), torch.tensor([[1.0, float("nan")]])])
def test_bad_rows_are_refused(values):
    with pytest.raises(UserError, match="finite"):
        Standardise(2).fit(values)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_cast_model_keeps_the_digits_of_its_scalers(dtype):
    """18 612.34 eV and 25.905 GHz survive model.to(bfloat16); loading and copying afterwards work, too."""
    values = torch.tensor([[18612.34, 25.905e9], [18500.1, 25.900e9]], dtype=torch.float64)
    model = torch.nn.Sequential(Standardise(2), torch.nn.Linear(2, 2))
    model[0].fit(values)
    expected = model[0](values)
    model.to(dtype)
    assert model[1].weight.dtype == dtype
    assert model[0].shift.dtype == torch.float64
    torch.testing.assert_close(model[0](values), expected, rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(model)[0].inverse(expected), values)
    fresh = torch.nn.Sequential(Standardise(2), torch.nn.Linear(2, 2)).to(dtype)
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(fresh[0](values), expected, rtol=0, atol=0)
