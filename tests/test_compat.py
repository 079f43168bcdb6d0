import ast
from pathlib import Path

import pytest
import trl

from rlhf_ext import _compat


@pytest.mark.parametrize("trainer", [trl.RewardTrainer, trl.DPOTrainer, trl.GRPOTrainer])
def test_the_seams_of_the_installed_trl_hold(trainer):
    _compat.check_seams(trainer)


def test_a_seam_that_is_gone_is_named_with_the_releases_that_work():
    class GRPOTrainer(trl.GRPOTrainer):
        _calculate_rewards = None

    with pytest.raises(ImportError, match=r"GRPOTrainer\._calculate_rewards.*is gone.*1\.16"):
        _compat.check_seams(GRPOTrainer)


def test_a_seam_with_other_parameters_is_named():
    class GRPOTrainer(trl.GRPOTrainer):
        def _compute_loss(self, batch):
            raise NotImplementedError

    with pytest.raises(ImportError, match=r"_compute_loss.*now takes \('self', 'batch'\)"):
        _compat.check_seams(GRPOTrainer)


def test_arguments_by_position_are_counted():
    assert _compat.by_name(("a", "b"), (1,), {"b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(TypeError, match="2 arguments by position, where there are 1: a"):
        _compat.by_name(("a",), (1, 2), {})
    with pytest.raises(TypeError, match="`a` came twice"):
        _compat.by_name(("a",), (1,), {"a": 2})


def test_the_functions_we_import_are_where_they_were(monkeypatch):
    _compat.check_functions()
    monkeypatch.delattr("trl.trainer.utils.add_fused_lm_head")
    with pytest.raises(ImportError, match=r"trl\.trainer\.utils\.add_fused_lm_head.*is gone.*1\.16"):
        _compat.check_functions()


def test_every_import_from_inside_trl_is_watched():
    """Imports of the trainers from TRL's own modules, against the list."""
    found: dict[str, set[str]] = {}
    for path in Path(_compat.__file__).parent.joinpath("trainers").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trl."):
                found.setdefault(node.module, set()).update(name.name for name in node.names)
    assert found == {module: set(names) for module, names in _compat._FUNCTIONS.items()}


def test_attributes_are_set_back_after_an_error():
    class Thing:
        value = 1

    thing = Thing()
    with pytest.raises(KeyError), _compat.attributes_set(thing, value=2):
        assert thing.value == 2
        raise KeyError
    assert thing.value == 1
