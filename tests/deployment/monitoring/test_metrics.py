"""Prometheus: what several processes count is shown as one by each of them."""

import inspect
import os
import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from rlhf_ext.deployment.gateway.metrics import Metrics

COUNT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("metrics", sys.argv[3])  # by itself: the package takes its time
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
metrics = module.Metrics()
fields = {"kind": "chat", "shadow_of": None, "model": "m", "variant": "a", "status": 200, "error": None, "seconds": 0.3, "ttft": 0.1, "prompt_tokens": 2, "completion_tokens": 5}
for _ in range(int(sys.argv[1])):
    metrics.count(fields, ())
metrics.in_flight.inc(2)
metrics.drift.labels("input", "words").set(float(sys.argv[1]) / 10)
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
if sys.argv[2] == "show":
    sys.stdout.write(metrics.text().decode())
metrics.close()
"""


def samples(text):
    return {
        (one.name, *sorted(one.labels.items())): one.value
        for f in text_string_to_metric_families(text)
        for one in f.samples
    }


def test_processes_that_share_a_folder_show_the_sums_of_all(tmp_path):
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", COUNT, number, show, inspect.getfile(Metrics)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, show in (("3", "no"), ("4", "show"))
    ]
    try:
        assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 2
        text = workers[1].communicate("go\n", timeout=60)[0]
        workers[0].communicate("go\n", timeout=60)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    found = samples(text)
    of = (("model", "m"), ("variant", "a"))
    assert found["rlhf_ext_gateway_seconds_count", *of] == 7
    assert found["rlhf_ext_gateway_tokens_total", ("kind", "completion"), *of] == 35
    assert found[("rlhf_ext_gateway_in_flight",)] == 4  # of those that live
    assert found["rlhf_ext_gateway_drift_evidence", ("feature", "words"), ("side", "input")] == 0.4  # the worst


def test_each_gateway_has_a_registry_of_its_own():
    one, other = Metrics(), Metrics()
    one.lost.inc()
    assert b"rlhf_ext_gateway_unrecorded_total 1.0" in one.text()
    assert b"rlhf_ext_gateway_unrecorded_total 0.0" in other.text()
