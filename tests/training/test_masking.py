"""Masked pre-training: what is drawn, what is hidden, what the loss counts, and the way through the command line."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cres.errors import UserError
from cres.transforms import FROZEN_EPOCH, KeyedRandom, SpectrumView, TimeView
from reconstruction.models import GaussianHead, S4DEncoder
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.random.stretches import draw_stretches
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.learning.averaging import evaluation_weights
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.tasks.masking import Hidden, HiddenBands, HiddenSpans, Masking, MaskingOptions
from reconstruction.training.network.reconstructor import Reconstructor
from reconstruction.training.runs.fitting import fit_scalers

CONFIGS = Path(__file__).parents[2] / "configs"
ENCODER = "reconstructor.fusion.encoders.spectrum."
QUICK = (
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--figures.every_epochs=0",
)


def random(rows: int, epoch: int = 0, first: int = 0) -> KeyedRandom:
    return KeyedRandom(3, epoch, torch.arange(first, first + rows))


# What is drawn ------------------------------------------------------------------------------------------------------


def drawn_slowly(
    weight: Tensor, source: KeyedRandom, share: float, length: int, towards: float, real: Tensor
) -> Tensor:
    """The definition, row by row and stretch by stretch."""
    positions = weight.shape[1]
    count = (positions + length - 2) // length + 1
    before = np.floor(source.uniform(1, stream="first stretch")[:, 0].double().numpy() * length).astype(int)
    uniform = source.uniform(count, stream="stretches").double().numpy()
    found = np.zeros(weight.shape, bool)
    for row in range(len(weight)):
        members = [
            [i for i in range(positions) if (i + before[row]) // length == stretch and real[row, i]]
            for stretch in range(count)
        ]
        total = max(float(weight[row][real[row]].sum()), 1e-38)
        keys = {}
        for stretch, inside in enumerate(members):
            if inside:
                equal = len(inside) / int(real[row].sum())
                heavy = float(weight[row, inside].sum()) / total
                chance = max((1 - towards) * equal + towards * heavy, 1e-38)
                keys[stretch] = np.log(chance) - np.log(-np.log(max(uniform[row, stretch], 2.0**-25)))
        wanted = max(1, min(round(share * int(real[row].sum()) / length), len(keys) - 1))
        for stretch in sorted(keys, key=lambda one: -keys[one])[:wanted]:
            found[row, members[stretch]] = True
    return torch.from_numpy(found)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(4, 40), st.integers(1, 9), st.floats(0.05, 0.9), st.sampled_from([0.0, 0.4, 0.9]), st.integers(0, 99)
)
def test_stretches_are_those_of_the_definition(positions, length, share, towards, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(5, positions, generator=generator, dtype=torch.float64)
    real = torch.arange(positions) < torch.randint(2, positions + 1, (5, 1), generator=generator)
    source = random(5, first=seed)
    fast = draw_stretches(weight, source, share=share, length=length, towards_weight=towards, real=real)
    assert torch.equal(fast, drawn_slowly(weight, source, share, length, towards, real))
    assert not bool((fast & ~real).any())


def test_a_row_draws_the_same_in_any_batch_and_another_in_another_epoch():
    weight = torch.rand(6, 50)
    how = {"share": 0.4, "length": 5}
    whole = draw_stretches(weight, random(6), **how)
    assert torch.equal(draw_stretches(weight[2:4], random(2, first=2), **how), whole[2:4])
    assert not torch.equal(draw_stretches(weight, random(6, epoch=1), **how), whole)


def test_chances_follow_the_weight():
    """One line that holds all of the power: drawn always, as often as any other, or half-way between."""
    weight = torch.zeros(2000, 100)
    weight[:, 50] = 1
    for towards, expected in ((0.0, 0.2), (1.0, 1.0), (0.5, 0.958)):
        hidden = draw_stretches(weight, random(2000), share=0.2, length=5, towards_weight=towards)
        assert float(hidden.float().mean()) == pytest.approx(0.2, abs=0.01)
        assert float(hidden[:, 50].float().mean()) == pytest.approx(expected, abs=0.04)


# What is hidden, and what the loss counts ---------------------------------------------------------------------------


@pytest.mark.parametrize("positions", [31, 32])
def test_hidden_parts_are_projections_and_their_share_is_that_of_white_noise(positions):
    generator = torch.Generator().manual_seed(1)
    series = torch.randn(4, positions, 2, generator=generator, dtype=torch.float64)
    lines = draw_stretches(torch.ones(4, positions // 2 + 1), random(4), share=0.3, length=3)
    spans = draw_stretches(torch.ones(4, positions), random(4), share=0.3, length=3)
    unit = torch.eye(positions, dtype=torch.float64)
    for hidden in (HiddenBands(lines, positions), HiddenSpans(spans)):
        part = hidden.part(series)
        torch.testing.assert_close(hidden.part(part), part)
        assert float((part * (series - part)).sum().abs()) < 1e-10
        # the trace of a projection over its dimension is the share of white noise that it keeps
        for row in range(4):
            one = type(hidden)(*(_of_row(value, row, positions) for value in vars(hidden).values()))
            trace = torch.diagonal(one.part(unit.unsqueeze(2)).squeeze(2)).sum() / positions
            assert float(hidden.share(None)[row]) == pytest.approx(float(trace))


def _of_row(value, row: int, positions: int):
    return value[row : row + 1].expand(positions, -1) if isinstance(value, Tensor) else value


class Plain(RecordView):
    """The record as it is."""

    channels, scalar_count = 2, 0

    def forward(self, series: Tensor) -> View:
        return View(series, series.new_zeros(len(series), 0))

    def lengths(self, lengths: Tensor, samples: int, positions: int) -> Tensor:
        return lengths


def plain(options: MaskingOptions, dtype: torch.dtype = torch.float64) -> tuple[Masking, Reconstructor]:
    torch.manual_seed(0)
    encoder = S4DEncoder(2, 8, 4, 1)
    made = Reconstructor({"plain": Plain()}, {"plain": encoder}, lambda **how: GaussianHead(**how), ("x",))
    masking = Masking(options, made)
    return masking.to(dtype), made.to(dtype)


def measure(masking: Masking, made: Reconstructor, *batches: tuple[Inputs, Masks]) -> None:
    """Measure the noise on inputs with their masks."""
    masking.fit(made, lambda: [{"inputs": inputs, "masks": masks} for inputs, masks in batches], list)


def noisy(rows: int = 8, positions: int = 64, scale: float = 1.0, centre: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return centre + scale * torch.randn(rows, positions, 2, generator=generator, dtype=torch.float64)


BOTH = MaskingOptions({"plain": Hidden(0.3, 4)}, {"plain": Hidden(0.2, 2, 0.5)})


def test_the_loss_is_the_mean_square_of_what_is_hidden_in_units_of_the_noise():
    """Against loops over the hidden positions and lines."""
    masking, made = plain(BOTH)
    series = {"series": noisy(scale=3.0, centre=7.0)}
    measure(masking, made, (series, {}))
    source = random(8)
    shift, scale = masking.noise["plain"].shift, masking.noise["plain"].scale
    assert shift.tolist() == pytest.approx([7, 7], abs=0.4)
    assert scale.tolist() == pytest.approx([3, 3], rel=0.1)
    units = (series["series"] - shift) / scale
    bands, spans = masking._draw("plain", units, None, source.scoped("masking plain"))
    shown = masking._shown("plain", units, [bands, spans])
    assert shown[spans.positions].abs().max() == 0
    rebuilt = masking.rebuilders["plain"](shown * scale + shift)
    error, lines = rebuilt - units, torch.fft.rfft(rebuilt - units, dim=1, norm="ortho")
    losses = []
    for row in range(8):
        weight = torch.tensor([1.0 if k in (0, 32) else 2.0 for k in range(33)]) * bands.lines[row]
        power = lines[row].abs().square().mean(dim=1)
        losses += [(weight * power).sum() / weight.sum(), error[row][spans.positions[row]].square().mean()]
    wanted = torch.stack(losses).mean()
    torch.testing.assert_close(masking(made, series, {}, source), wanted)


def test_rebuilding_nothing_of_noise_costs_one_whatever_its_unit():
    for scale in (1e-3, 1.0, 50.0):
        masking, made = plain(MaskingOptions({"plain": Hidden(0.3, 4)}, {"plain": Hidden(0.2, 2)}))
        series = {"series": noisy(400, 64, scale)}
        measure(masking, made, (series, {}))
        assert float(masking(made, series, {}, random(400), rebuild=False)) == pytest.approx(1, abs=0.05)


@torch.no_grad()
def test_what_is_hidden_does_not_reach_the_encoder(monkeypatch):
    masking, made = plain(BOTH)
    series = noisy()
    measure(masking, made, ({"series": series}, {}))

    def leak(hidden: HiddenBands | HiddenSpans) -> float:
        """Change the hidden part alone; return what the encoder sees of it."""
        other = series + hidden.part(noisy(scale=9.0))
        before, after = (masking._shown("plain", one, [hidden]) for one in (series, other))
        return float((after - before).abs().max())

    bands, spans = masking._draw("plain", series, None, random(8).scoped("masking plain"))
    assert leak(spans) == 0
    assert leak(bands) < 1e-9
    monkeypatch.setattr(Masking, "_shown", lambda self, name, one, hidden: one)
    assert min(leak(spans), leak(bands)) > 1  # a leak is seen


SAMPLES = MaskingOptions(samples={"plain": Hidden(0.5, 4)})


def test_hidden_samples_and_the_others_share_a_record_and_have_the_noise_of_a_whole_one():
    masking, made = plain(MaskingOptions(samples={"plain": Hidden(0.25, 4)}))
    series = noisy(2000, 64)
    seen, wanted = (one["series"] for one in masking._parted("plain", made, {"series": series}, {}, random(2000)))
    hidden = wanted.abs().sum(dim=2) > 0
    assert not bool((hidden & (seen.abs().sum(dim=2) > 0)).any())
    share = hidden.double().mean(dim=1)
    assert float(share.mean()) == pytest.approx(0.25, abs=0.01)
    whole = seen * (1 - share).sqrt()[:, None, None] + wanted * share.sqrt()[:, None, None]
    torch.testing.assert_close(whole, series)
    for part in (seen, wanted):
        assert float(part.square().mean()) == pytest.approx(1, abs=0.02)


def test_the_loss_of_hidden_samples_is_of_what_the_view_makes_of_them_alone():
    masking, made = plain(SAMPLES)
    series = {"series": noisy(4, 64)}
    measure(masking, made, (series, {}))
    masking.noise["plain"].shift.zero_()
    masking.noise["plain"].scale.fill_(2.0)
    seen, wanted = masking._parted("plain", made, series, {}, random(4).scoped("masking plain"))
    rebuilt = masking.rebuilders["plain"](seen["series"])
    slowly = torch.stack([(rebuilt[i] - wanted["series"][i] / 2).square().mean() for i in range(4)]).mean()
    torch.testing.assert_close(masking(made, series, {}, random(4)), slowly)
    nothing = (wanted["series"] / 2).square().mean()
    torch.testing.assert_close(masking(made, series, {}, random(4), rebuild=False), nothing)


@pytest.mark.parametrize("options", [MaskingOptions({"plain": Hidden(0.3, 4)}), SAMPLES])
def test_padding_changes_nothing(options):
    masking, made = plain(options)
    series = noisy(4, 40)
    lengths = torch.tensor([40, 40, 24, 24])
    mask = torch.arange(40) < lengths.unsqueeze(1)
    padded = {"series": series * mask.unsqueeze(2)}
    measure(masking, made, (padded, {"series": mask}))
    spoiled = {"series": torch.where(mask.unsqueeze(2), series, 1e3)}
    one, two = (masking(made, given, {"series": mask}, random(4)) for given in (padded, spoiled))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("options", [MaskingOptions({"plain": Hidden(0.3, 4)}), SAMPLES])
def test_a_record_that_holds_nothing_spoils_no_batch(options):
    masking, made = plain(options)
    mask = torch.arange(40) < torch.tensor([[40], [0]])
    inputs, masks = {"series": noisy(2, 40) * mask.unsqueeze(2)}, {"series": mask}
    measure(masking, made, ({"series": noisy(4, 40)}, {}))
    loss = masking(made, inputs, masks, random(2))
    loss.backward()
    assert loss.isfinite()
    assert all(one.grad.isfinite().all() for one in made.parameters() if one.grad is not None)


def test_hidden_lines_are_learned_from_their_harmonics():
    """A line and its harmonic share a phase: what is hidden of one is told by the other, noise is not."""
    torch.manual_seed(0)
    made = Reconstructor(
        {"plain": Plain()}, {"plain": S4DEncoder(2, 16, 8, 2)}, lambda **how: GaussianHead(**how), ("x",)
    )
    masking = Masking(MaskingOptions({"plain": Hidden(0.25, 8)}, alone=True), made)
    time = torch.arange(64) / 64

    def batch(seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        phase = 2 * torch.pi * torch.rand(32, 1, generator=generator)
        turns = 2 * torch.pi * 4 * time + phase
        clean = 2 * torch.stack([turns.cos(), turns.sin()], dim=2)
        return {"series": clean + torch.randn(clean.shape, generator=generator)}

    measure(masking, made, *((batch(seed), {}) for seed in range(4)))
    masking.noise["plain"].scale.fill_(1.0)  # a tone in every position: its median is not the noise
    optimiser = torch.optim.Adam(masking.parameters(), lr=1e-2)
    for step in range(80):
        loss = masking(made, batch(step), {}, random(32, epoch=step))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(masking.parameters(), 1.0)
        optimiser.step()
    with torch.no_grad():
        judged = masking(made, batch(1000), {}, random(32, FROZEN_EPOCH))
        nothing = masking(made, batch(1000), {}, random(32, FROZEN_EPOCH), rebuild=False)
    assert float(nothing) == pytest.approx(3, abs=0.4)
    assert float(judged) < 1.5  # the noise itself is 1


# Through the command line -------------------------------------------------------------------------------------------


def fit(config: str, data: Path, run: Path, *options: str) -> Path:
    arguments = ["-c", str(CONFIGS / config), f"--data.data={data}", f"--run={run}", *QUICK, *options]
    CommandLine("fit", arguments).execute()
    return run / "checkpoints" / "last.ckpt"


def weights(checkpoint: Path) -> dict[str, Tensor]:
    stored = evaluation_weights(read_checkpoint(checkpoint))
    return {name.removeprefix(ENCODER): value for name, value in stored.items() if name.startswith(ENCODER)}


@pytest.fixture(scope="module")
def measured(make_records, tmp_path_factory) -> Path:
    """Records as an apparatus writes them: with their noise, without truth."""
    path = make_records(tmp_path_factory.mktemp("measured") / "measured.hdf5", 96, labelled=False)
    generator = np.random.default_rng(2)
    with h5py.File(path, "a") as file:
        del file["avg_axial_frequency_Hz"]
        for name in ("output_ts_I", "output_ts_Q"):
            file[name][...] = file[name][...] + generator.normal(0, 0.0471, file[name].shape).astype(np.float32)
    return path


@pytest.fixture(scope="module")
def pretrained(measured, tmp_path_factory) -> Path:
    return fit("pretrain.yaml", measured, tmp_path_factory.mktemp("pretrain"), "--model.noise=[]")


@pytest.mark.parametrize("layers", ["0", "1", "null"])
def test_measured_records_pre_train_what_labelled_ones_fine_tune(pretrained, records, tmp_path, layers):
    options = [f"--fine_tune.checkpoint={pretrained}", f"--fine_tune.trainable_layers={layers}"]
    before, after = weights(pretrained), weights(fit("s4d.yaml", records, tmp_path, *options))
    same = {name for name, value in before.items() if torch.equal(after[name], value)}
    kept = {name for name in before if layers == "0" or (layers == "1" and name.startswith(("project", "blocks.0")))}
    assert kept <= same
    assert (same == set(before)) == (layers == "0")
    assert main(["test", f"--run={tmp_path}"]) == 0


def test_what_is_hidden_is_other_in_each_epoch_and_frozen_to_judge(measured):
    arguments = ["-c", str(CONFIGS / "pretrain.yaml"), f"--data.data={measured}", "--model.noise=[]", *QUICK]
    line = CommandLine("fit", [*arguments, "--trainer.fast_dev_run=true"])
    line.datamodule.setup("fit")
    module = line.model
    fit_scalers(module, line.datamodule)
    batch = module.placed(next(iter(line.datamodule.val_dataloader())))
    with torch.no_grad():
        losses = [float(module.objective(batch, batch, epoch)[0]) for epoch in (0, 1, FROZEN_EPOCH, FROZEN_EPOCH)]
    assert losses[2] == losses[3]
    assert len(set(losses)) == 3


def test_the_floor_stands_beside_the_loss(pretrained):
    lines = (pretrained.parents[1] / "metrics.csv").read_text().splitlines()
    assert "val/loss_of_nothing" in lines[0]
    assert "val/loss" in lines[0].split(",")


def test_a_resumed_pre_training_is_that_which_never_stopped(measured, tmp_path):
    options = ["--model.noise=[]", "--model.schedule=reconstruction.training.schedules.Constant"]
    options.append("--model.encoders.spectrum.init_args.width=8")
    whole = fit("pretrain.yaml", measured, tmp_path / "a", *options, "--trainer.max_epochs=2")
    fit("pretrain.yaml", measured, tmp_path / "b", *options)
    parts = fit("pretrain.yaml", measured, tmp_path / "b", *options, "--trainer.max_epochs=2", "--resume")
    for name, value in read_checkpoint(whole)["state_dict"].items():
        if isinstance(value, Tensor):
            assert torch.equal(read_checkpoint(parts)["state_dict"][name], value), name


def test_time_samples_and_bands_of_the_spectrum_are_hidden_together(measured, tmp_path):
    """Two views, two encoders, both kinds of hiding; fusion takes both encoders over."""
    hide = [
        "--model.masking.spans={time: {share: 0.3, length: 4}, spectrum: {share: 0.3, length: 2}}",
        "--model.masking.bands={time: {share: 0.2, length: 2, towards_lines: 1.0}}",
        "--model.masking.alone=true",
        "--model.noise=[]",
    ]
    small = [
        f"--model.encoders.{name}.init_args.{option}"
        for name in ("time", "spectrum")
        for option in ("width=8", "depth=1", "state=4")
    ]
    before = fit("fusion.yaml", measured, tmp_path / "pre", *hide, *small)
    learned = read_checkpoint(before)["state_dict"]
    assert {name.split(".")[2] for name in learned if name.startswith("masking.rebuilders.")} == {"time", "spectrum"}
    assert "masking.blanks.time" in learned


def test_mistakes_of_masking_are_one_sentence(measured, tmp_path):
    def wrong(*options: str, config: str = "pretrain.yaml") -> None:
        fit(config, measured, tmp_path, *options)

    with pytest.raises(UserError, match=r"model\.masking\.spans has 'spectra', but no view .*mean 'spectrum'"):
        wrong("--model.masking.spans={spectra: {share: 0.3}}")
    with pytest.raises(UserError, match=r"model\.masking hides nothing: name a view"):
        wrong("--model.masking.alone=true", config="s4d.yaml")
    with pytest.raises(UserError, match=r"share is 1, but"):
        wrong("--model.masking.spans={spectrum: {share: 1}}")
    with pytest.raises(UserError, match=r"length is 0, but"):
        wrong("--model.masking.spans={spectrum: {length: 0}}")
    with pytest.raises(UserError, match=r"towards_lines is 2, but"):
        wrong("--model.masking.spans={spectrum: {towards_lines: 2}}")
    with pytest.raises(UserError, match=r"spans\.spectrum\.length is 40, and the view has 24 positions: give at most"):
        wrong("--model.masking.spans={spectrum: {length: 40}}")
    with pytest.raises(UserError, match=r"samples\.spectrum\.towards_lines is 0\.5, but no line stands at a sample"):
        wrong("--model.masking.samples={spectrum: {towards_lines: 0.5}}")
    with pytest.raises(UserError, match="no columns energy_eV, pitch_angle_deg: they can be predicted, not trained on"):
        wrong("--model.masking.alone=false")


def test_a_view_of_another_apparatus_is_hidden_in_its_own_units():
    """The noise is measured in what the view makes of it, whatever the view's unit says."""
    for view in (SpectrumView(403e6, (-70e6, -50e6), scale_volt=1e-6), TimeView(403e6, scale_volt=3.0)):
        encoder = S4DEncoder(2, 4, 4, 1)
        made = Reconstructor({"plain": view}, {"plain": encoder}, lambda **how: GaussianHead(**how), ("x",))
        masking = Masking(MaskingOptions({"plain": Hidden(0.3, 3)}), made)
        series = {"series": torch.randn(64, 512, 2, generator=torch.Generator().manual_seed(1)) * 0.05}
        measure(masking, made, (series, {}))
        assert float(masking(made, series, {}, random(64), rebuild=False)) == pytest.approx(1, abs=0.1)
