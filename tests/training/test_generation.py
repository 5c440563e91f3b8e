"""Records drawn for given targets: the flow, the loss, what is refused, and the way through the command line."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.linalg
import scipy.special
import torch
from torch import Tensor

from cres.data.module import CresDataModule
from cres.errors import UserError
from cres.simulation import ForwardModel, SimulationConfig, parameter_rows, sample_electrons, simulate_columns
from cres.simulation.rendered_lines import RenderedLines
from cres.training.module import _require_assumed
from cres.transforms import KeyedRandom
from cres.transforms.noise import NOMINAL_DENSITY_W_PER_HZ
from reconstruction.models.flow_matching import FlowMatching
from reconstruction.training.command_line.cli import CommandLine
from reconstruction.training.learning.averaging import evaluation_weights
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.tasks.generation import divergence
from reconstruction.training.runs.loading import load_module

CONFIGS = Path(__file__).parents[2] / "configs"
ENCODER = "reconstructor.fusion.encoders.spectrum."
GIVEN = ("energy_eV", "pitch_angle_deg", "radius_m")
QUICK = (
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--figures.every_epochs=0",
)
NARROW = (
    *(f"--model.encoders.spectrum.init_args.{one}" for one in ("width=8", "depth=1", "state=4")),
    "--model.generation.width=16",
)


# The flow ------------------------------------------------------------------------------------------------------------


def test_a_flow_learns_a_ring_whose_radius_is_given():
    torch.manual_seed(0)
    flow, random = FlowMatching(2, 1, width=32, depth=1), torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(flow.parameters(), lr=5e-3)
    for _ in range(400):
        radius = 1 + torch.rand(256, 1, generator=random)
        angle = 2 * math.pi * torch.rand(256, 1, generator=random)
        wanted = radius * torch.cat((angle.cos(), angle.sin()), dim=1)
        noise, time = torch.randn(256, 2, generator=random), torch.rand(256, 1, generator=random)
        optimiser.zero_grad()
        flow.loss(wanted, radius, noise, time).backward()
        optimiser.step()
    with torch.no_grad():
        drawn = [flow.flown(torch.randn(500, 2, generator=random), torch.full((500, 1), r)) for r in (1.1, 1.9)]
    for radius, found in zip((1.1, 1.9), drawn, strict=True):
        assert float(found.norm(dim=1).mean()) == pytest.approx(radius, abs=0.15)
        assert float(found.norm(dim=1).std()) < 0.3
        assert float(found.mean(dim=0).abs().max()) < 0.25


@torch.no_grad()
def test_the_midpoint_rule_is_exact_where_the_velocity_is_linear_in_time():
    flow = FlowMatching(1, 1, width=4, depth=1)
    flow.velocity = lambda place, time, given: 2 * time * given  # x = x₀ + t² given
    found = flow.flown(torch.tensor([[3.0], [0.0]]), torch.tensor([[1.0], [-2.0]]), steps=3)
    torch.testing.assert_close(found, torch.tensor([[4.0], [-2.0]]))


# The loss -----------------------------------------------------------------------------------------------------------


def test_the_divergence_is_that_of_torch():
    random = torch.Generator().manual_seed(3)
    mean = torch.randn(6, 3, generator=random, dtype=torch.float64)
    factor = torch.randn(6, 3, 3, generator=random, dtype=torch.float64).tril()
    factor.diagonal(dim1=1, dim2=2).abs_().add_(0.1)
    own = torch.distributions.MultivariateNormal(mean, scale_tril=factor)
    unit = torch.distributions.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    torch.testing.assert_close(divergence(mean, factor), torch.distributions.kl_divergence(own, unit))


# The lines of electrons -----------------------------------------------------------------------------------------------

SHORT = "readout: {samples: 1024, noise_temperature_k: 0.7355}\n"


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    path = tmp_path_factory.mktemp("short") / "short.yaml"
    path.write_text(SHORT)
    return path


@pytest.fixture(scope="module")
def lines(short):
    return RenderedLines(str(short))


def columns(rows: int = 6) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(4)
    uniform = torch.rand(3, rows, generator=random, dtype=torch.float64)
    return {
        "energy_eV": 18_550 + 50 * uniform[0],
        "pitch_angle_deg": 88.2 + uniform[1],
        "radius_m": 5e-3 * uniform[2],
    }


def electrons(lines: RenderedLines, truths: dict[str, Tensor]) -> Tensor:
    count = len(truths["energy_eV"])
    rows = parameter_rows(*(truths[name] for name in GIVEN), torch.ones(count).double(), axial_phases(count))
    return torch.view_as_real(ForwardModel(lines.config)(rows))


def axial_phases(count: int) -> Tensor:
    return 2 * math.pi * torch.rand(count, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


def phase_apart(made: Tensor, records: Tensor) -> Tensor:
    """|made · e^{iφ} − record|² for the common phase φ that suits each record best."""
    first, second = torch.view_as_complex(made), torch.view_as_complex(records)
    agreed = (first.conj() * second).sum(dim=1).abs()
    return first.abs().square().sum(dim=1) + second.abs().square().sum(dim=1) - 2 * agreed


def test_the_lines_are_the_electron(lines):
    """What is left out of the forward model's records is well below the noise."""
    truths = columns()
    records = electrons(lines, truths)
    turns = torch.stack((torch.zeros(6), axial_phases(6) / (2 * math.pi)), dim=1)
    made = lines.series(lines.heights(truths, 1024), truths, 1024, turns)
    left = phase_apart(made, records) / lines.noise_std_volt**2
    energy = records.square().sum(dim=(1, 2)) / lines.noise_std_volt**2
    assert float((left / energy).max()) < 0.02
    assert float(left.max()) < 2
    assert float(energy.median()) > 100


def test_the_numbers_are_those_of_the_definition(lines):
    """√N/σ · G^{1/2} c of the least-squares c, electron by electron, also where lines run into each other."""
    truths = columns()
    truths["pitch_angle_deg"][0] = 89.9
    records = electrons(lines, truths)
    found = ForwardModel(lines.config).lines(parameter_rows(*(truths[name] for name in GIVEN)))
    time, volts = np.arange(1024) / 403e6, records.numpy() @ [1, 1j]
    for row, values in enumerate(lines.values(records, truths)):
        carrier, axial = (np.polyval(curve[row].numpy()[::-1], time) for curve in (found.phase, found.axial))
        waves = np.exp(1j * (carrier + np.outer(lines.harmonics, axial)))
        c = np.linalg.lstsq(waves.T, volts[row], rcond=1e-4)[0]
        slowly = scipy.linalg.sqrtm(waves.conj() @ waves.T / 1024) @ c * 32 / lines.noise_std_volt
        np.testing.assert_allclose(values.numpy() @ np.kron(np.eye(len(slowly)), [[1], [1j]]), slowly, atol=2e-2)


def test_an_electron_that_is_elsewhere_is_not_its_lines(lines):
    """The check above can fail: 30 eV off, the lines miss most of the record."""
    truths = columns()
    records = electrons(lines, truths)
    other = truths | {"energy_eV": truths["energy_eV"] + 30}
    turns = torch.zeros(6, 2)
    left = phase_apart(lines.series(lines.values(records, other), other, 1024, turns), records)
    assert float((left / records.square().sum(dim=(1, 2))).min()) > 0.3


def test_the_noise_of_each_number_is_one(lines):
    """Also where lines run into each other, near 90°."""
    random = torch.Generator().manual_seed(7)
    noise = lines.noise_std_volt * torch.randn(300, 1024, 2, generator=random)
    truths = columns(300)
    truths["pitch_angle_deg"][:100] = 89.8
    found = lines.values(noise, truths).square()
    assert float(found[:100].mean()) == pytest.approx(1, abs=0.15)
    assert float(found[100:].mean()) == pytest.approx(1, abs=0.1)


def slow_misfit(lines: RenderedLines, records: Tensor, truths: dict[str, Tensor], made: Tensor, axial: int) -> Tensor:
    """−ln of the mean over phases of p of all samples, less that of nothing, from the definition in float64."""
    rows = parameter_rows(*(truths[name] for name in GIVEN))
    found, time = ForwardModel(lines.config).lines(rows), np.arange(1024) / 403e6
    volts, common = records.double().numpy() @ [1, 1j], np.exp(2j * np.pi * np.arange(800) / 800)
    c = made.double().numpy().reshape(len(made), -1, 2) @ [1, 1j] * lines.noise_std_volt / 32
    costs = []
    for row in range(len(made)):
        carrier, turn = (np.polyval(curve[row].numpy()[::-1], time) for curve in (found.phase, found.axial))
        log_p = []
        for phase in 2 * np.pi * np.arange(axial) / axial:
            record = c[row] @ np.exp(1j * (carrier + np.outer(lines.harmonics, turn + phase)))
            agreed, energy = np.vdot(volts[row], record), np.vdot(record, record).real
            log_p.append((np.real(agreed * common) - energy / 2) / lines.noise_std_volt**2)
        costs.append(math.log(axial * 800) - scipy.special.logsumexp(log_p))
    return torch.tensor(costs) + lines.values(records, truths).double().square().sum(dim=1) / 2


@pytest.mark.parametrize("axial_phase", ["uniform", "learned"])
def test_the_misfit_is_the_mean_over_free_phases(short, lines, axial_phase):
    """Against sums over both phases, sample by sample; near 90° lines run into each other."""
    rendering = RenderedLines(str(short), axial_phase=axial_phase)
    truths = columns()
    truths["pitch_angle_deg"][:2] = torch.tensor([89.9, 89.98])
    random = torch.Generator().manual_seed(8)
    records = electrons(lines, truths).float()
    records = records + lines.noise_std_volt * torch.randn(records.shape, generator=random)
    made = lines.heights(truths, 1024).float() * (1 + 0.1 * torch.randn(6, lines.width, generator=random))
    slowly = slow_misfit(lines, records, truths, made, axial=720 if axial_phase == "uniform" else 1)
    torch.testing.assert_close(rendering.misfit(records, truths, made).double(), slowly, atol=5e-3, rtol=1e-4)


def test_an_axial_phase_says_nothing_unless_it_is_learned(short, lines):
    truths = columns()
    records, made = electrons(lines, truths).float(), lines.heights(truths, 1024).float()
    pairs = torch.view_as_complex(made.unflatten(1, (-1, 2)).contiguous())
    turned = pairs * torch.exp(0.7j * torch.tensor(lines.harmonics))
    other = torch.view_as_real(turned).flatten(1)
    learned = RenderedLines(str(short), axial_phase="learned")
    costs = [[one.misfit(records, truths, numbers) for numbers in (made, other)] for one in (lines, learned)]
    torch.testing.assert_close(*costs[0], atol=1e-2, rtol=1e-4)
    assert float((costs[1][0] - costs[1][1]).abs().max()) > 5


def test_an_axial_phase_that_is_learned_is_not_drawn(short, lines):
    truths, learned = columns(), RenderedLines(str(short), axial_phase="learned")
    made, common = lines.heights(truths, 1024), torch.rand(6, 1, generator=torch.Generator().manual_seed(9)).double()
    still = lines.series(made, truths, 1024, torch.cat((common, torch.zeros(6, 1)), dim=1))
    torch.testing.assert_close(learned.series(made, truths, 1024, common), still)
    turned = lines.series(made, truths, 1024, torch.cat((common, torch.full((6, 1), 0.1)), dim=1))
    assert float((turned - still).square().sum(dim=(1, 2)).median() / lines.noise_std_volt**2) > 5


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float64])
def test_a_network_of_any_precision_is_compared(lines, precision):
    truths = columns()
    records, made = electrons(lines, truths).float(), lines.heights(truths, 1024).bfloat16()
    found = lines.misfit(records, truths, made.to(precision))
    torch.testing.assert_close(found.float(), lines.misfit(records, truths, made.float()))


def test_nothing_made_costs_what_is_seen_and_has_a_slope(lines):
    truths = columns()
    records = electrons(lines, truths).float()
    made = torch.zeros(6, lines.width, requires_grad=True)
    found = lines.misfit(records, truths, made)
    torch.testing.assert_close(found, lines.values(records, truths).square().sum(dim=1) / 2)
    found.sum().backward()
    assert bool(made.grad.isfinite().all())


def test_data_that_state_no_noise_are_of_the_default_apparatus():
    """Its density is no round number, and theirs is."""
    noise = {"noise_density_w_per_hz": NOMINAL_DENSITY_W_PER_HZ}
    _require_assumed(RenderedLines().assumed, {"sampling_rate_hz": 403e6} | noise)
    with pytest.raises(UserError, match=r"sampling_rate_hz of the data is 4\.02e"):
        _require_assumed(RenderedLines().assumed, {"sampling_rate_hz": 402e6} | noise)


# Through the command line -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(short, tmp_path_factory):
    """Electrons of the short apparatus."""
    config = SimulationConfig.from_yaml(short)
    found = simulate_columns(config, sample_electrons(config, 96, 3))
    path, readout = tmp_path_factory.mktemp("simulated") / "records.hdf5", config.readout
    with h5py.File(path, "w") as file:
        for name, values in found.items():
            file[name] = values
        facts = {"sampling_rate_hz": readout.sampling_rate_hz, "lo_frequency_hz": readout.lo_frequency_hz}
        file.attrs.update({"schema_version": 1, "config": json.dumps(config.to_dict())} | facts)
    return path


def fit(data: Path, run: Path, short: Path | str, *options: str) -> Path:
    where = f"--model.generation.rendering.init_args.simulation={short}"
    arguments = ["-c", str(CONFIGS / "generate.yaml"), f"--data.data={data}", f"--run={run}", *QUICK, *NARROW, where]
    CommandLine("fit", [*arguments, *options]).execute()
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def trained(simulated, short, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generation")
    return fit(simulated, folder, short, "--trainer.max_epochs=8", "--data.batch_size=8", "--model.optimiser.lr=0.01")


def targets(data: Path) -> Tensor:
    records = CresDataModule(str(data), targets=GIVEN).records
    return torch.from_numpy(np.column_stack([records.scalar(name) for name in GIVEN]))


def test_it_learns_what_records_look_like(trained):
    header, *rows = (trained.parents[1] / "metrics.csv").read_text().splitlines()
    found = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
    judged = [row for row in found if row["val/loss"]]
    assert float(judged[-1]["val/loss"]) < 0.6 * float(judged[-1]["val/loss_of_nothing"])


def test_drawn_records_are_of_what_was_asked_for(trained, simulated, lines):
    task, asked = load_module(trained).generation, targets(simulated)[:64]
    drawn = task.draw(asked, 1024, seed=1)
    assert drawn.shape == (64, 1024, 2)
    truths = dict(zip(GIVEN, asked.unbind(1), strict=True))
    power = lines.values(drawn, truths).square().sum(dim=1)
    assert 20 < float(power.median()) < 2000  # of the noise
    torch.testing.assert_close(task.draw(asked, 1024, seed=1), drawn)
    assert not torch.allclose(task.draw(asked, 1024, seed=2), drawn)
    torch.testing.assert_close(task.draw(asked[:0], 1024), drawn[:0])


def test_a_normal_prior_has_no_flow(simulated, short, trained, tmp_path):
    tuned = fit(
        simulated,
        tmp_path,
        short,
        "--model.generation.prior=normal",
        f"--fine_tune.checkpoint={trained}",
        "--fine_tune.trainable_layers=0",
    )
    before, after = (evaluation_weights(read_checkpoint(one)) for one in (trained, tuned))
    assert any(name.startswith("generation.flow.") for name in before)
    assert not any(name.startswith("generation.flow.") for name in after)
    ours = [name for name in after if name.startswith(ENCODER)]
    assert all(torch.equal(before[name], after[name]) for name in ours)
    assert load_module(tuned).generation.draw(targets(simulated)[:2], 64).shape == (2, 64, 2)


def test_mistakes_are_one_sentence(trained, simulated, short, tmp_path, make_records):
    task, asked = load_module(trained).generation, targets(simulated)[:3].clone()
    asked[1, 0] = 25_000
    with pytest.raises(UserError, match=r"energy_eV 25000 is beyond what the generation was trained on, 18\d+"):
        task.draw(asked, 64)
    asked[1, 0] = math.nan
    with pytest.raises(UserError, match="energy_eV nan is beyond"):
        task.draw(asked, 64)
    with pytest.raises(UserError, match=r"and radius_m is none of data\.targets.*name it there"):
        fit(simulated, tmp_path, short, "--data.targets=[energy_eV, pitch_angle_deg]")
    with pytest.raises(UserError, match="latent is 0, but must be 1 or more"):
        fit(simulated, tmp_path, short, "--model.generation.latent=0")
    with pytest.raises(UserError, match=r"view is 'time', but no view is called so"):
        fit(simulated, tmp_path, short, "--model.generation.view=time")
    with pytest.raises(UserError, match=r"there is no apparatus 'cavity_26hz'.*cavity_26ghz"):
        RenderedLines("cavity_26hz")
    with pytest.raises(UserError, match=r"noise_density_w_per_hz of the data is 2\.7\d+e-14, and model\.generation"):
        fit(simulated, tmp_path, "cavity_26ghz")
    unlabelled = make_records(tmp_path / "unlabelled.hdf5", 64, labelled=False)
    with h5py.File(unlabelled, "r+") as file:
        file.attrs["config"] = json.dumps(SimulationConfig.from_yaml(short).to_dict())
    with pytest.raises(
        UserError, match=r"no columns? energy_eV, pitch_angle_deg, radius_m: records are drawn for given"
    ):
        fit(unlabelled, tmp_path, short)


def test_the_same_records_cost_the_same_whenever_they_are_judged(trained, simulated):
    module = load_module(trained)
    source = CresDataModule(str(simulated), targets=GIVEN, batch_size=16)
    batch = next(iter(source.rows_dataloader(np.arange(16))))
    noisy = module.inject(batch, -1)
    with torch.no_grad():
        costs = [
            float(
                module.generation.objective(
                    module.reconstructor, noisy, batch, KeyedRandom(0, epoch, batch["event_id"])
                )
            )
            for epoch in (-1, -1, 0)
        ]
    assert costs[0] == costs[1] != costs[2]
    assert SimulationConfig.default().readout.samples == 8192


PAGE = Path(__file__).parents[2] / "docs" / "howto" / "draw_records.md"


def test_the_pages_block_draws(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "generate").symlink_to(trained.parents[1])
    (code,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    found: dict[str, Tensor] = {}
    exec(compile(code, str(PAGE), "exec"), found)
    assert found["noisy"].shape == found["volts"].shape == (100, 1024, 2)
    assert float((found["noisy"] - found["volts"]).std()) > 0
