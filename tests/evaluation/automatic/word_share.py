"""A metric script for `evaluate`: it needs no hub. `each` is a list, `share` one number of all rows, `odd` no number."""

import datasets
import evaluate


class WordShare(evaluate.Metric):
    def _info(self):
        texts = {name: datasets.Value("string") for name in ("predictions", "references")}
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features=datasets.Features(texts)
        )

    def _compute(self, predictions, references, penalty=0.0):
        shared = [len(set(p.split()) & set(r.split())) - penalty for p, r in zip(predictions, references, strict=True)]
        words = sum(len(r.split()) for r in references)
        return {"each": shared, "share": sum(shared) / words, "odd": "much", "wordshare": shared[0]}
