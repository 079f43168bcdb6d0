"""A metric script for `evaluate` over whole numbers, as accuracy is, which also reads the prompts."""

import datasets
import evaluate


class NumbersEqual(evaluate.Metric):
    def _info(self):
        features = {"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}
        features["sources"] = datasets.Value("string")
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features=datasets.Features(features)
        )

    def _compute(self, predictions, references, sources):
        assert all(source.endswith("?") for source in sources)
        return {"equal": sum(p == r for p, r in zip(predictions, references, strict=True)) / len(predictions)}
