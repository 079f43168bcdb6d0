"""From prompts to a batch of comparisons: with real generators, rewards and stores, as a stream."""

import itertools
import json
import tracemalloc
import warnings

import numpy as np
import pytest
from datasets import Dataset, IterableDataset

from rlhf_ext import LocalGenerator, RewardEnsemble, RewardModel, ScriptedGenerator
from rlhf_ext.active import (
    STRATEGIES,
    Acquisition,
    BatchRule,
    Candidates,
    LogProbs,
    select_for_feedback,
    text_distances,
)

CATEGORIES = ("code", "math", "chat", "chat", "chat")


def length(prompts, completions, **columns):
    return [float(len(text if isinstance(text, str) else text[0]["content"])) for text in completions]


def vowels(prompts, completions, **columns):
    return [float(sum(letter in "aeiou" for letter in text)) for text in completions]


def embed(prompts, completions):
    """Counts of four letters."""
    return np.array([[text.count(letter) for letter in "abcd"] for text in completions], dtype=np.float32)


def rows(count=30):
    rng = np.random.default_rng(0)
    return [
        {
            "prompt": f"prompt {i}",
            "responses": ["".join(rng.choice(list("abcdex"), 1 + rng.integers(12))) + str(j) for j in range(4)],
            "models": ["m1", "m2", "m1", "m2"],
            "category": CATEGORIES[i % 5],
            "id": i,
        }
        for i in range(count)
    ]


def choose(pool, budget=5, **options):
    return select_for_feedback(None, pool, **{"budget": budget, "reward": [length, vowels], "embed": embed, **options})


def numbered():
    count = itertools.count()
    return ScriptedGenerator(lambda prompt, sampling: f"answer {next(count)}")


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_gives_rows_to_ask_about(strategy):
    pool = rows()
    logprobs = lambda prompts, completions, **columns: [-float(len(text)) for text in completions]  # noqa: E731
    found = choose(pool, strategy=strategy, logprobs=logprobs)
    assert len(found) == 5 and found.seen == 30 and not found.left_out
    assert len({row["prompt"] for row in found.rows}) == 5
    for row in found.rows:
        source = pool[row["id"]]
        places = [source["responses"].index(response) for response in row["responses"]]
        assert places == sorted(places) and len(places) == 2
        assert row["models"] == [source["models"][place] for place in places]
        assert row["strategy"] == strategy and np.isfinite(row["utility"]) and row["category"] == source["category"]
    assert found.dataset.column_names[:5] == ["prompt", "responses", "models", "utility", "strategy"]
    assert choose(pool, strategy=strategy, logprobs=logprobs).rows == found.rows


def test_the_best_are_chosen():
    pool = [{"prompt": str(i), "responses": ["a" * (i % 7 + 1), "b" * 10]} for i in range(7)]
    found = choose(pool, budget=2, strategy="max_min", reward=length)
    assert [(row["prompt"], row["utility"]) for row in found.rows] == [("0", 9.0), ("1", 8.0)]
    assert [row["prompt"] for row in choose(pool, budget=2, strategy="margin", reward=length).rows] == ["6", "5"]
    said = choose(pool, budget=1, strategy="max_min", reward=length)
    assert str(said) == "1 comparisons to ask about, of 7 prompts"


@pytest.mark.parametrize("strategy", ["random", "double_thompson", "bald", "d_optimal", "response_diversity"])
@pytest.mark.parametrize("block_size", [1, 7, 100])
def test_a_stream_in_blocks_gives_what_the_whole_gives(strategy, block_size):
    pool = rows(40)
    # The design takes its scale from the first block, and chooses from a shortlist.
    options = {"strategy": strategy, "rule": BatchRule(shortlist=100)}
    whole = choose(pool, **options)
    parts = choose(iter(pool), block_size=block_size, **options)
    if strategy != "d_optimal":
        assert [(row["id"], row["responses"]) for row in parts.rows] == [
            (row["id"], row["responses"]) for row in whole.rows
        ]
        assert [row["utility"] for row in parts.rows] == pytest.approx([row["utility"] for row in whole.rows])
    elif block_size > 1:
        assert len({row["id"] for row in parts.rows} & {row["id"] for row in whole.rows}) >= 3


def test_a_pool_that_does_not_fit_in_memory():
    """Prompts from a generator: what is held is the shortlist, and a hash a prompt."""

    def pool():
        for i in itertools.count():
            yield {"prompt": f"{i:08d}" * 300, "responses": ["x" * (i % 50), "y" * 60]}

    drawn = lambda block: Acquisition(block.rng.random(len(block.present)), [(0, 1)] * len(block.present))  # noqa: E731
    wide = lambda prompts, completions: np.zeros((len(prompts), 512), dtype=np.float32)  # noqa: E731
    options = {"budget": 10, "strategy": drawn, "block_size": 256, "embed": wide}
    tracemalloc.start()
    found = select_for_feedback(None, itertools.islice(pool(), 5_000), **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.seen == 5_000
    assert peak < 8e6  # the prompts alone are 12 MB, their embeddings 20


def test_data_sets_and_streams_of_them():
    pool = rows(12)
    whole = choose(pool).rows
    assert choose(Dataset.from_list(pool)).rows == whole
    assert choose(IterableDataset.from_generator(lambda: iter(pool))).rows == whole


def test_all_responses_to_rank_and_files(tmp_path):
    found = choose(rows(), ask="all")
    assert all(len(row["responses"]) == len(row["models"]) == 4 for row in found.rows)
    path = found.save(tmp_path / "new" / "items.jsonl")
    assert [json.loads(line) for line in path.read_text().splitlines()] == found.rows
    assert [one.name for one in path.parent.iterdir()] == ["items.jsonl"]


def test_a_function_of_ones_own():
    def longest(block: Candidates):
        assert block.scores.shape == (30, 4, 2) and block.features.shape == (30, 4, 4) and block.logprobs is None
        return block.scores[:, :, 0].sum(axis=1), np.tile([1, 3], (len(block.present), 1))

    found = choose(rows(), strategy=longest)
    assert {row["strategy"] for row in found.rows} == {"longest"}
    totals = {row["id"]: sum(map(len, row["responses"])) for row in rows()}
    assert [totals[row["id"]] for row in found.rows] == sorted(totals.values(), reverse=True)[:5]
    with pytest.raises(ValueError, match=r"utilities of shape \(30,\).*got \(1,\)"):
        choose(rows(), strategy=lambda block: (np.zeros(1), np.zeros((30, 2))))
    for utility, pair in ((np.nan, (0, 1)), (0.0, (1, 1)), (0.0, (0, 4))):
        with pytest.raises(
            ValueError, match=rf"prompt 0 of a block the utility {utility} and the pair \({pair[0]}, {pair[1]}\)"
        ):
            choose(rows(), strategy=lambda block, u=utility, p=pair: (np.full(30, u), np.tile(p, (30, 1))))


# --- batches ----------------------------------------------------------------------------------------------------------


def test_quotas_hold_for_utilities_and_designs():
    for strategy in ("max_min", "d_optimal"):
        found = choose(rows(50), budget=10, strategy=strategy, rule=BatchRule(quotas={"code": 0.3, "math": 0.2}))
        counts = {name: sum(row["category"] == name for row in found.rows) for name in ("code", "math", "chat")}
        assert counts == {"code": 3, "math": 2, "chat": 5}
    # Ten are code: the other places go to the best of the rest.
    found = choose(rows(50), budget=20, strategy="max_min", rule=BatchRule(quotas={"code": 1.0}))
    assert sum(row["category"] == "code" for row in found.rows) == 10 and len(found) == 20


def test_a_spread_batch_is_farther_apart():
    def radius(found):
        points = {row["id"]: embed(None, row["responses"]).mean(axis=0) for row in rows(60)}
        chosen = [points[row["id"]] for row in found.rows]
        return max(min(np.linalg.norm(point - one) for one in chosen) for point in points.values())

    options = {"strategy": "random", "budget": 8, "seed": 3}
    plain = radius(choose(rows(60), **options))
    spread = {name: radius(choose(rows(60), rule=BatchRule(name), **options)) for name in ("k_center", "k_means++")}
    assert spread["k_center"] < plain and spread["k_means++"] < plain


def test_no_two_are_alike():
    pool = [{"prompt": str(i), "responses": ["a" * (i + 1), "a" * (i + 2)]} for i in range(10)]
    pool += [{"prompt": "b", "responses": ["b", "bb"]}]
    with pytest.warns(UserWarning, match="2 can be asked about"):
        found = choose(pool, strategy="max_min", rule=BatchRule(max_similarity=0.99))
    assert len(found) == 2 and "b" in {row["prompt"] for row in found.rows}


def test_a_design_takes_unlike_prompts_and_counts_what_was_asked():
    pool = [{"prompt": f"a{i}", "responses": ["a" * 9, "x" * (i + 1)]} for i in range(9)]
    pool += [{"prompt": "b", "responses": ["b" * 7, "x"]}]
    flat = lambda prompts, completions, **columns: [0.0] * len(completions)  # noqa: E731
    found = choose(pool, budget=2, reward=flat)
    assert found.rows[1]["prompt"] == "b"
    asked = [{"prompt": "old", "chosen": "a" * 20 + "b" * 30, "rejected": "b" * 30}]  # they differ in a's
    assert choose(pool, budget=1, reward=flat, asked=asked).rows[0]["prompt"] == "b"
    sure = lambda prompts, completions, **columns: [50.0 * (text.count("a") == 20) for text in completions]  # noqa: E731
    assert choose(pool, budget=1, reward=sure, asked=asked).rows[0]["prompt"] != "b"  # its answer was foregone
    assert choose(pool, budget=1, reward=flat).rows[0]["prompt"] != "b"


# --- what is left out -------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_counted_by_reason():
    def picky(prompts, completions, **columns):
        return [None if "no" in text else float(len(text)) for text in completions]

    pool = [
        {"prompt": "same", "responses": ["a", " a\n"]},
        {"prompt": "unscored", "responses": ["no", "no!", "yes"]},
        {"prompt": "asked  before", "responses": ["a", "bb"]},
        {"prompt": "twice", "responses": ["a", "bb", "no"]},
        {"prompt": " twice", "responses": ["a", "bb"]},
        {"prompt": "close", "responses": ["aa", "bb"]},
    ]
    asked = [{"prompt": "asked before", "responses": ["c", "d"]}]
    found = choose(
        pool, budget=1, strategy="max_min", reward=picky, asked=asked, uncertainty_threshold=0.5, embed=None
    )
    assert [(row["prompt"], row["responses"]) for row in found.rows] == [("twice", ["a", "bb"])]
    assert found.left_out == {
        "asked before, or twice in the pool": 2,
        "fewer than two different responses": 1,
        "fewer than two responses with a reward": 1,
        "under the threshold": 1,
    }
    assert "     2  left out: asked before" in str(found)


def test_nothing_under_the_threshold_is_asked_by_a_design_either():
    utilities = [row["utility"] for row in choose(rows(), budget=10).rows]
    threshold = utilities[4]
    with pytest.warns(UserWarning, match="30 prompts 5 can be asked about .*under the threshold"):
        found = choose(rows(), budget=10, uncertainty_threshold=threshold)
    assert [row["utility"] for row in found.rows] == utilities[:5] and found.left_out["under the threshold"] >= 5


def test_a_quota_for_what_is_not_there_is_said():
    rule = BatchRule(quotas={"coed": 0.5, "math": 0.2})
    with pytest.warns(UserWarning, match="is of the category 'coed', .*There are 'math', 'code', 'chat'"):
        assert len(choose(rows(), budget=10, rule=rule)) == 10


def test_people_are_not_asked_about_empty_answers():
    pool = [
        {"prompt": "p", "responses": ["", "a", " \n", "b"], "models": ["w", "x", "y", "z"]},
        {"prompt": "q", "responses": ["", "only one"]},
    ]
    with pytest.warns(UserWarning, match="1 fewer than two different responses"):
        found = choose(pool, budget=2, strategy="random")
    assert [(row["responses"], row["models"]) for row in found.rows] == [(["a", "b"], ["x", "z"])]


def test_a_text_is_asked_before_where_it_was_as_a_message():
    asked = [
        {"prompt": [{"role": "user", "content": f"prompt {i}"}], "chosen": "a", "rejected": "b"} for i in range(29)
    ]
    assert [row["prompt"] for row in choose(rows(), budget=1, strategy="random", asked=asked).rows] == ["prompt 29"]


def test_a_budget_larger_than_the_pool_is_said():
    with pytest.warns(
        UserWarning, match="budget is 99 comparisons, and of 30 prompts 30 can be asked about: all of these"
    ):
        assert len(choose(rows(), budget=99)) == 30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose(rows(), budget=30)


# --- with models ------------------------------------------------------------------------------------------------------


def test_candidates_are_sampled_and_kept(tmp_path):
    prompts = [f"p{i}" for i in range(10)]
    models = {"a": numbered(), "b": numbered(), "c": numbered()}
    options = {"budget": 3, "strategy": "random", "n": 4, "store": tmp_path / "store.sqlite", "max_new_tokens": 7}
    found = select_for_feedback(models, prompts, block_size=4, **options)
    calls = sum(len(model.calls) for model in models.values())
    assert calls == 40 and models["a"].calls[0][1]["max_new_tokens"] == 7
    # The blocks are cut where models' turns begin anew, so that another size asks nothing again.
    again = select_for_feedback(models, prompts, block_size=100, **options)
    assert again.rows == found.rows and sum(len(model.calls) for model in models.values()) == calls
    assert all(len(row["models"]) == 2 for row in found.rows)


def test_it_goes_on_where_it_was_stopped(tmp_path):
    class Stops(Exception):
        pass

    def answer(prompt, sampling):
        if prompt == "p7" and not allowed:
            raise Stops
        asked.append(prompt)
        return f"{prompt} {sampling['seed']}"

    allowed, asked = [], []
    options = {"budget": 3, "strategy": "response_diversity", "store": tmp_path / "store.sqlite", "block_size": 2}
    prompts = [f"p{i}" for i in range(10)]
    with pytest.raises(Stops):
        select_for_feedback(ScriptedGenerator(answer), iter(prompts), **options)
    before = len(asked)
    allowed.append(True)
    resumed = select_for_feedback(ScriptedGenerator(answer), iter(prompts), **options)
    assert before >= 24 and len(asked) == 40  # four each, none twice
    fresh = select_for_feedback(ScriptedGenerator(answer), prompts, **{**options, "store": None})
    assert fresh.rows == resumed.rows


def test_prompts_without_an_answer(tmp_path):
    from rlhf_ext.generation import Unanswered

    def answer(prompt, sampling):
        if "bad" in prompt:
            raise Unanswered("filtered")
        return str(sampling["seed"])

    options = {"budget": 1, "strategy": "random"}
    with pytest.raises(RuntimeError, match="1 of 2 prompts got no answer"):
        select_for_feedback(ScriptedGenerator(answer), ["bad", "good"], **options)
    with pytest.warns(UserWarning, match="left out"):
        found = select_for_feedback(ScriptedGenerator(answer), ["bad", "good"], skip_failed=True, **options)
    assert found.left_out == {"no response": 1} and found.rows[0]["prompt"] == "good"


def test_messages_and_real_models(policy, tokenizer, reward_folder):
    prompts = [{"prompt": [{"role": "user", "content": f"Say {word}."}], "id": word} for word in ("tea", "oak", "sun")]
    generator, reward = LocalGenerator(policy, tokenizer), RewardModel(reward_folder)
    found = select_for_feedback(generator, prompts, budget=2, reward=reward, n=3, max_new_tokens=6)
    assert {row["id"] for row in found.rows} < {"tea", "oak", "sun"}
    assert all(response[0]["role"] == "assistant" for row in found.rows for response in row["responses"])
    entropy = select_for_feedback(
        generator,
        prompts,
        budget=1,
        strategy="predictive_entropy",
        logprobs=LogProbs(policy, tokenizer),
        max_new_tokens=6,
    )
    assert entropy.rows[0]["utility"] > 0


def test_an_ensemble_speaks_in_its_members_own_units(reward_folder):
    pool = [{"prompt": "Q:", "responses": [" yes", " no thanks", " maybe so"]}]
    members = [RewardModel(reward_folder), RewardModel(reward_folder)]
    members[1].model.score.weight.data *= -2
    ensemble = RewardEnsemble(members).standardize(["Q:"] * 3, pool[0]["responses"])
    options = {"budget": 1, "strategy": "max_min"}
    one, other = (select_for_feedback(None, pool, reward=reward, **options) for reward in (ensemble, members))
    assert one.rows[0]["utility"] == pytest.approx(other.rows[0]["utility"], rel=1e-4)
    assert select_for_feedback(None, pool, reward=ensemble, budget=1, strategy="bald").rows[0]["utility"] > 0


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"strategy": "best"}, ValueError, "Unknown strategy 'best'; there are d_optimal, bald, .*random"),
        ({"strategy": 3}, TypeError, "a name or a function"),
        ({"strategy": "bald", "reward": length}, ValueError, "'bald' needs an ensemble.*there is one.*margin.*random"),
        (
            {"strategy": "bald", "reward": None},
            ValueError,
            "there is none.*these work: d_optimal, response_diversity, random",
        ),
        ({"strategy": "margin", "reward": None}, ValueError, "'margin' needs a reward: pass `reward`"),
        ({"embed": None}, ValueError, "'d_optimal' needs embeddings: pass `embed`.*these work: bald"),
        ({"strategy": "predictive_entropy"}, ValueError, "needs log-probabilities: pass `logprobs`"),
        (
            {"strategy": "bald", "embed": None, "rule": BatchRule("k_center")},
            ValueError,
            "compare embeddings: pass `embed`",
        ),
        ({"budget": 0}, ValueError, "`budget` should be a whole number of at least 1"),
        ({"block_size": 0}, ValueError, "`block_size`"),
        ({"reward_temperature": 0}, ValueError, "`reward_temperature` should be a positive number"),
        ({"ask": "two"}, ValueError, "'pair' or 'all', got 'two'"),
        ({"asked": [{"prompt": "p"}]}, ValueError, "Row 0 of `asked` needs"),
        ({"rule": BatchRule(quotas={"code": 0.5}, category="kind")}, ValueError, "Row 0 has no column 'kind'"),
        (
            {"embed": lambda prompts, completions: np.zeros(3)},
            ValueError,
            r"`embed` gave an array of shape \(3,\) for 120",
        ),
        ({"reward": lambda prompts, completions, **columns: [1.0]}, ValueError, "1 rewards for 120 completions"),
        (
            {"uncertainty_threshold": float("nan")},
            ValueError,
            "`uncertainty_threshold` should be a finite number, got nan",
        ),
        ({"uncertainty_threshold": "0.5"}, ValueError, "should be a finite number, got '0.5'"),
        ({"uncertainty_threshold": 1e9}, ValueError, "None of 30 prompts can be asked about: 30 under the threshold"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        choose(rows(), **options)


@pytest.mark.parametrize(
    ("pool", "error", "message"),
    [
        ([], ValueError, "There are no prompts"),
        ("one", TypeError, "a list of one is"),
        ([{"prompt": "p", "responses": ["a", "b"]}, {"prompt": ""}], ValueError, "Row 1 has no `prompt`"),
        ([{"prompt": "p"}], ValueError, "Row 0 needs `responses`"),
        ([{"prompt": "p", "responses": "ab"}], ValueError, "Row 0 needs `responses`, a list of answers, got 'ab'"),
        ([{"prompt": "p", "responses": ["a", "b"], "models": ["m"]}], ValueError, "2 responses, and 1 `models`"),
        (
            [{"prompt": "p", "responses": ["a", None]}],
            TypeError,
            "Row 0, response 1: Expected text or a list of messages",
        ),
        ([{"prompt": "p", "responses": ["a", "a"]}], ValueError, "None of 1 .*1 fewer than two different responses"),
    ],
)
def test_bad_pools(pool, error, message):
    with pytest.raises(error, match=message):
        choose(pool)


def test_a_generator_does_not_overwrite_responses_and_nothing_is_sampled_for_a_bad_call():
    model = numbered()
    with pytest.raises(ValueError, match="Row 0 has `responses` already"):
        select_for_feedback(model, rows(), budget=1, strategy="random")
    with pytest.raises(ValueError, match="needs a reward"):
        select_for_feedback(model, ["p"], budget=1, strategy="margin")
    with pytest.raises(TypeError, match="Unknown sampling argument 'heat'"):
        select_for_feedback(model, ["p"], budget=1, strategy="random", heat=1)
    assert not model.calls


def test_bad_categories():
    pool = [{**row, "category": [row["category"]]} for row in rows()]
    with pytest.raises(ValueError, match=r"Row 0 has \['code'\] in the column 'category'.*one category is needed"):
        choose(pool, rule=BatchRule(quotas={"code": 0.5}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"diversify": "far"}, "'k_center' or 'k_means"),
        ({"shortlist": 0}, "`shortlist`"),
        ({"max_similarity": 3}, "`max_similarity`"),
        ({"quotas": {"a": 2}}, "quota of 'a'"),
    ],
)
def test_bad_rules(options, message):
    with pytest.raises(ValueError, match=message):
        BatchRule(**options)


def test_response_diversity_reads_texts_where_there_are_no_embeddings():
    found = select_for_feedback(None, rows(5), budget=1, strategy="response_diversity")
    distances = text_distances([row["responses"] for row in rows(5)])
    assert found.rows[0]["utility"] == pytest.approx(distances.sum(axis=(1, 2)).max() / 12)
