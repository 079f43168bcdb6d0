"""Experiments and canaries from YAML."""

import pytest

from rlhf_ext.data.store.database import Database
from rlhf_ext.deployment.experiments import Guard, Step, StoredCanaries, read_experiments

GOOD = """
experiments:
  - name: dpo-2
    traffic: assistant
    salt: "2026"
    variants: {sft: 1.0, dpo: 0.0}
    holdout: 0.05
    overrides: {ada: dpo}
    shadow: {dpo3: 0.01}
    canary:
      variant: dpo
      alpha: 0.1
      steps:
        - {share: 0.01, minutes: 30, users: 50}
        - {share: 0.5, hours: 24}
      guards:
        - {metric: error, at_most: 0.02, per: request}
        - {metric: seconds, at_most: 4, quantile: 0.95, rate: false}
  - {name: prompts, salt: s, variants: {short: 0.5, long: 0.5}, layer: prompt}
"""


def test_a_file_gives_experiments_and_canaries(tmp_path):
    path = tmp_path / "experiments.yaml"
    path.write_text(GOOD)
    experiments, (plan,) = read_experiments(path)
    assert [one.name for one in experiments.on("assistant")] == ["dpo-2", "prompts"]
    assert experiments["dpo-2"].shadow == {"dpo3": 0.01} and experiments["dpo-2"].holdout == 0.05
    assert plan.steps == (Step(0.01, 1800, 50), Step(0.5, 86400)) and plan.alpha == 0.1
    assert plan.guards == (Guard("error", 0.02, per="request"), Guard("seconds", 4, quantile=0.95, rate=False))
    canary = plan.start(StoredCanaries(Database("sqlite://")))
    assert canary.name == "dpo-2/dpo" and canary.experiment().variants == pytest.approx({"sft": 0.99, "dpo": 0.01})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("holdout: 0.05", "hold_out: 0.05", r"experiments\[0\] has the unknown field 'hold_out'; there are name"),
        ("holdout: 0.05", "holdout: 2", "`holdout`"),
        ("{sft: 1.0, dpo: 0.0}", "{sft: 1.0, dpo: 0.1}", "must sum to 1"),
        ('salt: "2026"', "salt: 2026", r"salt must be a text, got 2026; put it in quotes"),
        ('    salt: "2026"\n', "", r"experiments\[0\] has no 'salt'"),
        ("alpha: 0.1", "level: 0.1", r"canary has the unknown field 'level'"),
        ("minutes: 30,", "minutes: 30, hours: 1,", "minutes and hours; give one"),
        ("minutes: 30", "minutes: soon", "must be a number, got 'soon'"),
        ("share: 0.01", "share: 1%", "must be a number, got '1%'"),
        ("at_most: 0.02", "max: 0.02", r"guards\[0\] has the unknown field 'max'"),
        ("at_most: 0.02", "at_most: 2", r"guards\[0\]: The guard on 'error' bounds a rate"),
        ("rate: false", 'rate: "no"', "`rate` of the guard on 'seconds' must be true or false, got 'no'"),
        ("quantile: 0.95", "quantile: high", "`quantile` of the guard on 'seconds' goes with"),
        ("alpha: 0.1", "alpha: some", r"canary.alpha must be a number, got 'some'"),
        ("{ada: dpo}", "{17: dpo}", "a user is a text, got 17.*In YAML put it in quotes"),
        ("layer: prompt", "layer: default", "on the same traffic"),
        ("name: prompts", "name: dpo-2", "have the name"),
        ("experiments:", "tests:", "the file has the unknown field 'tests'"),
        ("holdout: 0.05", "holdout: 0.05\n    holdout: 0.1", "given twice"),
        ("variant: dpo\n", "variant: dpo\n      steps: []\n", "given twice|must be a list"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path, old, new, said):
    assert old in GOOD
    path = tmp_path / "experiments.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ValueError, match=said) as error:
        read_experiments(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="experiments"):
        read_experiments(tmp_path / "no.yaml")
