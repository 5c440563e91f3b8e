"""One contract for all random transforms: belongs to its event, keeps dtype and shape, passes gradients, any length."""

import pytest
import torch

from cres.errors import UserError
from cres.transforms import (
    CavityNoise,
    ColouredNoise,
    GainPhaseDrift,
    GainRipple,
    KeyedRandom,
    PhaseNoise,
    PhaseWalk,
    PiecewiseTransform,
    Place,
    Quantise,
    RandomChain,
    RandomPhase,
    SpuriousTones,
    ThermalNoise,
    WhiteNoise,
)

RATE_HZ = 403e6
TRANSFORMS = {
    "white": lambda: WhiteNoise(RATE_HZ),
    "coloured": lambda: ColouredNoise(RATE_HZ, [(-200e6, 1e-13), (0.0, 3e-13), (200e6, 2e-13)]),
    "cavity": lambda: CavityNoise(RATE_HZ, 25.9702e9, gain=3e9, quantum=True),
    "thermal": lambda: ThermalNoise(RATE_HZ, 5.0, gain=3e9, frequency_hz=25.9e9),
    "phase": RandomPhase,
    "phase noise": lambda: PhaseNoise(RATE_HZ, [(1e4, -70.0), (1e6, -90.0), (1e8, -110.0)]),
    "phase walk": lambda: PhaseWalk(RATE_HZ, 1e4),
    "tones": lambda: SpuriousTones(RATE_HZ, [-60e6, 10e6], [1e-4, 1e-5], spread_hz=1e6),
    "ripple": lambda: GainRipple(RATE_HZ, 0.1, 20e6),
    "drift": lambda: GainPhaseDrift(0.05, 0.02, 0.1),
    "quantise": lambda: Quantise(0.5, 8),
    "chain": lambda: RandomChain([RandomPhase(), WhiteNoise(RATE_HZ), GainPhaseDrift(0.05), Quantise(0.5, 12)]),
}
WHOLE_RECORD = {"coloured", "cavity", "phase noise", "phase walk", "ripple"}
DETERMINISTIC = {"quantise"}
ADC_STEP_VOLT = {"quantise": 2 * 0.5 / 2**8, "chain": 2 * 0.5 / 2**12}
every_transform = pytest.mark.parametrize("name", TRANSFORMS)


def records(batch=5, samples=256, channels=2):
    return 0.1 * torch.randn(batch, samples, channels, generator=torch.Generator().manual_seed(1))


def source(ids, epoch=0):
    return KeyedRandom(11, epoch, torch.as_tensor(ids))


@every_transform
@pytest.mark.parametrize("samples", [1, 2, 255, 256])
def test_an_event_does_not_depend_on_batch_or_order(name, samples):
    transform = TRANSFORMS[name]()
    series = records(samples=samples)
    ids = [7, 1 << 50, 3, -4, 8]
    together = transform(series, source(ids))
    order = [3, 0, 2]
    shuffled = transform(series[order], source([ids[k] for k in order]))
    torch.testing.assert_close(shuffled, together[order], rtol=1e-6, atol=1e-7)
    assert together.shape == series.shape


@every_transform
def test_another_epoch_is_another_draw(name):
    transform = TRANSFORMS[name]()
    series = records()
    first, second = transform(series, source(range(5))), transform(series, source(range(5), epoch=1))
    assert torch.equal(first, transform(series, source(range(5))))
    assert torch.equal(first, second) is (name in DETERMINISTIC)


@every_transform
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [2, 4])
def test_dtype_gradient_and_autocast(name, dtype, channels):
    transform = TRANSFORMS[name]()
    series = records(channels=channels).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = transform(series, source(range(5)))
    assert out.dtype == dtype
    plain = transform(series.detach().float(), source(range(5)))
    # eps of the dtype times the size of the values, through a few roundings
    precision = 8 * max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps) * float(plain.abs().max())
    # a value on the edge of an ADC code may fall on either side
    allowed = precision + 1.01 * ADC_STEP_VOLT.get(name, 0.0)
    torch.testing.assert_close(out.detach().float(), plain, rtol=0, atol=allowed)
    out.float().square().sum().backward()
    assert torch.isfinite(series.grad).all()
    assert (series.grad != 0).any(dim=(1, 2)).all()


@every_transform
def test_scale_zero_is_the_clean_record_and_scale_is_per_electron(name):
    transform = TRANSFORMS[name]()
    series = records()
    half = transform(series, source(range(5)), torch.tensor([0.0, 0.5, 1.0, 2.0, 0.0]))
    full = transform(series, source(range(5)))
    torch.testing.assert_close(half[2], full[2], rtol=1e-5, atol=1e-6)
    if name in {"phase", "quantise", "chain"}:
        return
    torch.testing.assert_close(half[[0, 4]], series[[0, 4]], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(half[1], full[1], atol=1e-6)


@every_transform
def test_module_travels_through_a_checkpoint(name):
    state = TRANSFORMS[name]().state_dict()
    TRANSFORMS[name]().load_state_dict(state)


@every_transform
@pytest.mark.parametrize("size", [1, 100, 255, 256])
def test_pieces_are_those_of_the_whole_record(name, size):
    transform, series = TRANSFORMS[name](), records()
    if name in WHOLE_RECORD:
        assert not isinstance(transform, PiecewiseTransform)
        with pytest.raises(UserError, match=f"{type(transform).__name__} needs the whole record"):
            RandomChain([transform]).piece(series, source(range(5)), Place(0, 256))
        return
    scale = torch.linspace(0, 2, 5)
    whole = transform(series, source(range(5)), scale)
    starts = range(0, 256, size)
    pieces = [transform.piece(series[:, k : k + size], source(range(5)), Place(k, 256), scale) for k in starts]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-6, atol=1e-7)


ADDITIVE = ("white", "thermal", "coloured", "cavity")


@pytest.mark.parametrize("first", ADDITIVE)
@pytest.mark.parametrize("second", ADDITIVE)
def test_noises_of_one_chain_are_independent(first, second):
    zero = torch.zeros(4, 2048, 2)
    one = TRANSFORMS[first]()(zero, source(range(4)))
    both = RandomChain([TRANSFORMS[first](), TRANSFORMS[second]()])(zero, source(range(4)))
    pair = torch.stack((one.flatten(), (both - one).flatten())).double()
    # coloured noise has fewer independent numbers than samples
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 6 / (zero.numel() / 2) ** 0.5


@every_transform
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_casting_the_module_changes_nothing(name, dtype):
    series = records()
    cast = TRANSFORMS[name]().to(dtype)
    torch.testing.assert_close(cast(series, source(range(5))), TRANSFORMS[name]()(series, source(range(5))))
