"""Views can be exported with the model that reads them."""

import pytest
import torch

from cres.transforms import STFT, QTransform, SpectrogramView, SpectrumView, TimeView

RATE_HZ = 403e6
BAND_HZ = (-80e6, -45e6)
VIEWS = {
    "time": lambda: TimeView(RATE_HZ),
    "spectrum": lambda: SpectrumView(RATE_HZ, window="hann"),
    "stft": lambda: SpectrogramView(STFT(RATE_HZ, BAND_HZ, 128, 64)),
    "q": lambda: SpectrogramView(QTransform(RATE_HZ, BAND_HZ, 40.0, 8, 16)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_exported_view_gives_the_same(name):
    series = torch.randn(3, 512, 2)
    view = VIEWS[name]()
    batch = torch.export.Dim("batch", min=2, max=1024)
    program = torch.export.export(view, (series,), dynamic_shapes=({0: batch},))
    more = torch.randn(5, 512, 2)
    torch.testing.assert_close(program.module()(more)[0], view(more).series)
