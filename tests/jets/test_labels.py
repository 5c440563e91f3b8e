"""What labels are worth: a factor that is known is found, and bounds are called bounds."""

from __future__ import annotations

import numpy as np
import pytest

from collider.jets.judging.labels import (
    PRETRAINED,
    SCRATCH,
    LabelResult,
    add_result,
    label_curve,
    label_table,
    read_results,
    worth,
)
from reconstruction.errors import UserError


def trainings(factor=3.0, scatter=0.0, seeds=3, counts=(100, 1000, 10_000)):
    """Accuracies that rise with ln labels; the pre-trained ones are those of `factor` times as many labels."""
    random = np.random.default_rng(0)
    return [
        LabelResult(start, count, seed, dict.fromkeys(("accuracy", "auc", "macro_f1"), value))
        for start, more in ((SCRATCH, 1.0), (PRETRAINED, factor))
        for count in counts
        for seed in range(seeds)
        for value in [0.1 * np.log(count * more) + scatter * random.normal()]
    ]


@pytest.mark.parametrize("factor", [1.0, 3.0, 7.0])
def test_a_factor_that_is_known_is_found(factor):
    found = worth(trainings(factor), 1000)
    assert found.value == pytest.approx(factor)
    assert (found.low, found.high) == pytest.approx((factor, factor))
    assert not found.bound


def test_a_pretraining_that_harms_is_worth_less_than_nothing():
    assert worth(trainings(0.5), 1000).value == pytest.approx(0.5)
    assert worth(trainings(1e-3), 1000).value == pytest.approx(0.1)  # as the smallest number of labels


def test_scatter_of_the_seeds_is_in_the_interval():
    found, wide = worth(trainings(3.0, 0.02, 8), 1000), worth(trainings(3.0, 0.08, 8), 1000)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(3, rel=0.3)
    assert np.log(wide.high / wide.low) > 2 * np.log(found.high / found.low) > 0.1


def test_what_no_labels_reach_is_a_lower_bound():
    found = worth(trainings(30.0), 1000)
    assert found.value == pytest.approx(10)
    assert found.bound
    assert found.beyond == 1
    assert "at least 10" in str(found)
    assert not worth(trainings(3.0), 1000).beyond


def test_a_curve_that_falls_by_chance_is_made_to_rise():
    """1 000 labels were as good as 10 000, 3 000 by chance worse: what 1 000 reach is reached at 1 000."""
    values = {100: 0.3, 1000: 0.7, 3000: 0.6, 10_000: 0.7}
    results = [LabelResult(SCRATCH, count, 0, {"accuracy": value}) for count, value in values.items()]
    results.append(LabelResult(PRETRAINED, 1000, 0, {"accuracy": 0.7}))
    assert worth(results, 1000).value == pytest.approx(1)


def test_results_are_kept_line_by_line(tmp_path):
    path, results = tmp_path / "labels.jsonl", trainings(seeds=1)
    assert read_results(path) == []
    for one in results:
        add_result(path, one)
    assert read_results(path) == results
    path.write_text('{"start": "from scratch"}\n')
    with pytest.raises(UserError, match=r"labels\.jsonl holds no results"):
        read_results(path)


def test_table_and_curve():
    results = trainings(scatter=0.02)
    table = label_table(results)
    assert "| 1,000 | pre-trained |" in table
    assert len(table.splitlines()) == 8
    axes = label_curve(results, labels=1000).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [SCRATCH, PRETRAINED]
    assert any("× the labels" in text.get_text() for text in axes.texts)
    assert not label_curve([one for one in results if one.start == SCRATCH], labels=1000).axes[0].texts


def test_without_a_rival_there_is_no_worth():
    scratch = [one for one in trainings() if one.start == SCRATCH]
    for results in (scratch, trainings(counts=(1000,))):
        with pytest.raises(UserError, match="needs a pre-trained training there"):
            worth(results, 1000)
