"""What a step computes: noise, losses, metrics, averages, the tasks beside the regression."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import seed_everything

from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.training.export import export_program
from cres.training.module import CresModule
from cres.transforms import FROZEN_EPOCH
from reconstruction.models import combine
from reconstruction.records.batch import mask_from
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.learning.averaging import Average
from reconstruction.training.learning.checkpoints import read_checkpoint, write_atomically
from reconstruction.training.learning.metrics import Collected, metric_name, validation_metrics
from reconstruction.training.learning.rate_finder import scan_rates
from reconstruction.training.runs.calibrating import MOST_PASSES
from reconstruction.training.runs.loading import build_module, load_ensemble, load_module, load_reconstructor

TARGETS = ("energy_eV", "pitch_angle_deg")


@pytest.fixture(scope="module")
def config(tiny):
    model = yaml.safe_load(tiny.read_text())["model"]
    return model | {"sampling_rate_hz": 403e6, "targets": list(TARGETS), "seed": 3}


@pytest.fixture
def module(config):
    seed_everything(0, verbose=False)
    made = build_module(config)
    made.reconstructor.target_scaler.fit(torch.tensor([[18500.0, 88.0], [18700.0, 90.0]], dtype=torch.float64))
    return made.eval()


def batch(rows: slice = slice(None)) -> dict:
    generator = torch.Generator().manual_seed(1)
    truth = torch.tensor([18500.0, 88.0]) + torch.rand(6, 2, generator=generator) * torch.tensor([200.0, 2.0])
    series = 0.1 * torch.randn(6, 512, 2, generator=generator)
    whole = {"event_id": torch.arange(6) + 100, "targets": truth.double()}
    chosen = {name: value[rows] for name, value in whole.items()}
    return {"inputs": {"series": series[rows]}, "masks": {}, **chosen, "observables": {}}


def noisy(module, *args) -> torch.Tensor:
    return module.inject(*args)["inputs"]["series"]


def test_judged_noise_is_frozen_and_depends_on_the_event_alone(module):
    first = noisy(module, batch(), FROZEN_EPOCH)
    torch.testing.assert_close(noisy(module, batch(slice(2, 4)), FROZEN_EPOCH), first[2:4])
    torch.testing.assert_close(noisy(module, batch(), FROZEN_EPOCH), first)


def test_training_noise_is_fresh_each_epoch_and_scales_in_power(module):
    module.corruption.links[0].change.transforms = torch.nn.ModuleList()
    clean = batch()["inputs"]["series"]
    first, second = (noisy(module, batch(), epoch) - clean for epoch in (0, 1))
    assert abs(float((first * second).mean())) < 0.05 * float((first * first).mean())
    quarter = noisy(module, batch(), 0, 0.25) - clean
    torch.testing.assert_close(quarter, 0.5 * first, rtol=1e-4, atol=1e-6)


def test_beyond_its_length_a_record_stays_zero(module):
    short = batch()
    short["masks"] = {"series": mask_from(torch.tensor([512, 400, 512, 10, 512, 512]), 512)}
    found = noisy(module, short, FROZEN_EPOCH)
    assert bool((found[3, 10:] == 0).all())
    assert bool((found[1, :400] != 0).any())


def test_predictions_are_in_physical_units_and_tempered(module):
    volts = batch()["inputs"]["series"]
    with torch.no_grad():
        before = module(volts)
        module.reconstructor.calibration.temperature.factor.fill_(2.0)
        after = module(volts)
    assert bool((before.estimate[:, 0] > 1e4).all())
    torch.testing.assert_close(after.estimate, before.estimate)
    torch.testing.assert_close(after.error_bar, 2 * before.error_bar)


def test_one_target_and_a_squeezed_truth_do_not_broadcast(config):
    single = build_module(config | {"targets": ["energy_eV"]})
    single.reconstructor.target_scaler.fit(torch.tensor([[18500.0], [18700.0]], dtype=torch.float64))
    one = batch()
    one["targets"] = one["targets"][:, 0]
    with pytest.raises(Exception, match=r"targets|shape|Type-check"):
        single.objective(single.inject(one, FROZEN_EPOCH), one)


def test_data_without_truth_cannot_be_trained_on(module):
    unlabelled = batch()
    del unlabelled["targets"]
    with pytest.raises(UserError, match="predicted, not trained on"):
        module.objective(module.inject(unlabelled, FROZEN_EPOCH), unlabelled)


def test_the_state_space_dynamics_have_their_own_group_even_after_a_copy(module):
    from reconstruction.models import optimizer_groups

    for one in (module, copy.deepcopy(module)):
        groups = {group["name"]: group for group in optimizer_groups(one, 1e-2, 0.1, 1e-3)}
        assert groups["ssm"]["lr"] == 1e-3
        assert groups["ssm"]["weight_decay"] == 0
        assert sum(len(group["params"]) for group in groups.values()) == len(list(one.parameters()))


def test_views_and_encoders_must_match(config):
    wrong = config | {"encoders": {"spektrum": config["encoders"]["spectrum"]}}
    with pytest.raises(UserError, match="'spectrum'"):
        build_module(wrong)


def test_the_average_follows_its_formula_and_swaps_back():
    layer = torch.nn.Linear(1, 1, bias=False)
    average = Average()
    expected = None
    for value in (1.0, 2.0, 4.0):
        torch.nn.init.constant_(layer.weight, value)
        average.update(layer, 0.9)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
    average.swap(layer)
    assert float(layer.weight.detach()) == pytest.approx(expected)
    average.swap(layer)
    assert float(layer.weight.detach()) == 4.0


def test_metrics_have_units_in_their_names():
    assert metric_name("energy_eV", "sigma68") == "val/energy_sigma68_eV"
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(4000, 2))
    std = np.array([2.0, 0.1])
    spread = np.tile(std, (4000, 1))
    ends = np.stack([-2 * spread, 2 * spread], axis=-1)
    estimate = truth + std * generator.normal(size=truth.shape)
    collected = Collected(np.arange(4000), estimate, np.tile(np.diag(std**2), (4000, 1, 1)), spread, ends, truth)
    figures = validation_metrics(collected, TARGETS)
    assert figures["val/energy_sigma68_eV"] == pytest.approx(2.0, rel=0.06)
    assert figures["val/pitch_angle_sigma68_deg"] == pytest.approx(0.1, rel=0.06)
    assert figures["val/coverage"] == pytest.approx(0.6827, abs=0.03)


def test_the_rate_finder_stays_below_divergence_and_leaves_the_module_alone(module):
    before = copy.deepcopy(module.state_dict())
    scan = scan_rates(module, [batch()], steps=60)
    assert 1e-4 < scan.suggestion < 0.5
    assert scan.losses[0] > min(scan.losses)
    after = module.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if isinstance(before[name], torch.Tensor))


def test_a_checkpoint_alone_reconstructs(trained):
    best = trained / "checkpoints" / "best.ckpt"
    with torch.no_grad():
        assert load_reconstructor(best)(batch()["inputs"]["series"]).estimate.shape == (6, 2)


@pytest.fixture(scope="module")
def judged(fit, tmp_path_factory):
    """A run with 38 validation electrons: enough for a calibration, whose coverage is known to three per cent."""
    folder = tmp_path_factory.mktemp("judged")
    fit(folder, "--data.fractions=[0.6,0.2,0.2]", "--trainer.max_epochs=1")
    return folder


def coverage_of(printed: str) -> float:
    return float(next(line.split()[1] for line in printed.splitlines() if line.startswith("coverage")))


def test_calibration_is_stored_and_gives_the_nominal_coverage_on_validation(judged, capsys):
    assert main(["validate", f"--run={judged}"]) == 0
    assert coverage_of(capsys.readouterr().out) == pytest.approx(0.68, abs=0.04)
    module = load_module(judged / "checkpoints" / "best.ckpt")
    assert not torch.allclose(module.reconstructor.calibration.temperature.factor, torch.ones(()).double(), atol=0.02)


@pytest.mark.parametrize(("noise", "passes"), [("", MOST_PASSES), ("[]", 1)])
def test_few_validation_electrons_calibrate_with_several_noises_each(fit, tmp_path, monkeypatch, noise, passes):
    seen = []
    inject = CresModule.inject

    def watched(module, batch, epoch, scale=1.0):
        noisy = inject(module, batch, epoch, scale)
        if not module.training and len(module.last_validation or ()):  # after the last epoch's own validation
            seen.append((epoch, noisy["inputs"]["series"].clone()))
        return noisy

    monkeypatch.setattr(CresModule, "inject", watched)
    options = [f"--model.noise={noise}"] if noise else []
    fit(tmp_path, "--data.fractions=[0.6,0.2,0.2]", "--data.batch_size=64", "--trainer.max_epochs=1", *options)
    assert [epoch for epoch, _ in seen] == list(range(-1, -1 - passes, -1))  # once: last and best are the same
    assert len({noisy.sum().item() for _, noisy in seen}) == passes


def test_the_default_model_is_exported_for_any_number_of_records():
    content = yaml.safe_load((Path(__file__).parents[2] / "configs" / "s4d.yaml").read_text())["model"]
    module = build_module(content | {"sampling_rate_hz": 403e6, "targets": list(TARGETS)}).eval()
    generator = torch.Generator().manual_seed(2)
    rows = torch.rand(2000, 3, generator=generator, dtype=torch.float64)
    module.reconstructor.scalar_scaler.fit(rows[:, 1:])
    module.reconstructor.target_scaler.fit(torch.tensor([[18500.0, 88.0], [18700.0, 90.0]], dtype=torch.float64))
    module.reconstructor.landmark.map.fit(rows, rows @ torch.rand(3, 2, generator=generator, dtype=torch.float64))
    program = export_program(module, 8192).module()
    volts = 0.1 * torch.randn(5, 8192, 2, generator=generator)
    with torch.no_grad():
        found = program(volts)
        wanted = module(volts)
    torch.testing.assert_close(found["estimate"], wanted.estimate, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["covariance"], wanted.error_covariance, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["PointHead", "QuantileHead"])
def test_a_model_without_a_density_is_exported(config, head):
    losses = {"PointHead": "MSE", "QuantileHead": "Pinball"}
    chosen = {"head": {"class_path": f"reconstruction.models.{head}"}}
    chosen["loss"] = {"class_path": f"reconstruction.models.{losses[head]}"}
    module = build_module(config | chosen).eval()
    module.reconstructor.target_scaler.fit(torch.tensor([[18500.0, 88.0], [18700.0, 90.0]], dtype=torch.float64))
    program = export_program(module, 512).module()
    volts = batch()["inputs"]["series"]
    with torch.no_grad():
        wanted, found = module(volts), program(volts)
    for name, expected in (("estimate", wanted.estimate), ("covariance", wanted.error_covariance)):
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert "posterior_weight" not in found
    assert ("posterior_quantile" in found) == (head == "QuantileHead")


def test_an_ensemble_is_the_mixture_of_its_members(trained, tmp_path):
    files = [trained / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]
    volts = batch()["inputs"]["series"]
    with torch.no_grad():
        expected = combine([load_reconstructor(path)(volts) for path in files])
        found = load_ensemble(files)(volts)
    torch.testing.assert_close(found.estimate, expected.estimate)
    main(["test", f"--run={trained}", f"--ckpt_path=[{files[0]},{files[1]}]", f"--predictions={tmp_path / 'p.hdf5'}"])
    assert "+" in PredictionTable.read(tmp_path / "p.hdf5").attributes["checkpoint_hash"]


@pytest.fixture
def ensemble(judged, tmp_path):
    """Two members that both state ten times too much."""
    files = []
    for number in (1, 2):
        checkpoint = read_checkpoint(judged / "checkpoints" / "last.ckpt")
        checkpoint["state_dict"]["reconstructor.calibration.temperature.factor"].fill_(10.0)
        checkpoint["state_dict"]["reconstructor.head.linear.bias"] += 0.01 * number
        files.append(tmp_path / f"{number}.ckpt")
        write_atomically(checkpoint, files[-1])
    return f"--ckpt_path=[{files[0]},{files[1]}]"


def test_an_ensemble_is_calibrated_as_a_whole(judged, ensemble, make_records, tmp_path, capsys):
    assert main(["validate", f"--run={judged}", ensemble]) == 0
    assert coverage_of(capsys.readouterr().out) == pytest.approx(0.68, abs=0.04)
    measured = make_records(tmp_path / "measured.hdf5", 20, labelled=False, seed=1)
    # these records carry no noise of their own: it is added, as in training
    out = [f"--predictions={tmp_path / 'p.hdf5'}"]
    main(["predict", f"--run={judged}", ensemble, f"--data.data={measured}", *out])
    together = PredictionTable.read(tmp_path / "p.hdf5").columns["energy_std_ev"]
    main(["predict", f"--run={judged}", f"--data.data={measured}", *out])
    alone = PredictionTable.read(tmp_path / "p.hdf5").columns["energy_std_ev"]
    assert np.median(together / alone) == pytest.approx(1, rel=0.5)


def test_an_ensemble_whose_training_data_are_gone_says_what_it_lacks(judged, ensemble, tmp_path, monkeypatch):
    def gone(*_):
        raise UserError("there is no file records.hdf5")

    monkeypatch.setattr("reconstruction.training.runs.ensembles.calibrate_ensemble", gone)
    with pytest.warns(UserWarning, match=r"not calibrated together: .*records\.hdf5"):
        main(["test", f"--run={judged}", ensemble, f"--predictions={tmp_path / 'p.hdf5'}"])


def test_an_encoder_is_pre_trained_without_truth(fit, tiny, make_records, tmp_path):
    unlabelled = make_records(tmp_path / "unlabelled.hdf5", 96, labelled=False)
    alone = ["--model.denoising.view=spectrum", "--model.denoising.alone=true", "--trainer.max_epochs=2"]
    before = CommandLine("fit", ["-c", str(tiny), f"--data.data={unlabelled}", f"--run={tmp_path / 'pre'}", *alone])
    start = copy.deepcopy(before.model.state_dict())
    before.execute()
    learned = before.model.state_dict()
    head = [name for name in learned if name.startswith("reconstructor.head") and "extra" not in name]
    encoder = [name for name in learned if name.startswith("reconstructor.fusion.encoders.spectrum.blocks")]
    assert all(torch.equal(learned[name], start[name]) for name in head)
    assert not all(torch.equal(learned[name], start[name]) for name in encoder)
