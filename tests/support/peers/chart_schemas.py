"""Renders docker/chart with several sets of values and judges what comes out: chart_schemas.py VERSION[,VERSION…] CHART

Values are judged by the chart's own schema first, as Helm does; wrong ones must be refused. Prints how many objects were
judged; ends with 1 where there was a fault."""
import copy
import json
import os
import subprocess
import sys
import tempfile

import go
import jsonschema
import yaml

versions, chart = sys.argv[1:3]
here = os.path.dirname(os.path.abspath(__file__))
compiler = os.path.join(os.path.dirname(go.__file__), "bin", "go")
with open(os.path.join(chart, "values.yaml"), encoding="utf-8") as text:
    defaults = yaml.safe_load(text)
with open(os.path.join(chart, "values.schema.json"), encoding="utf-8") as text:
    schema = json.load(text)


def values(change):
    made = copy.deepcopy(defaults)
    change(made)
    return made


def given(made):
    made["injector"]["certificate"] = {"selfSigned": False, "secretName": "tls", "caBundle": "Cg=="}
    made["imagePullSecrets"] = [{"name": "registry"}]
    made["injector"]["nodeSelector"] = {"disk": "ssd"}
    made["injector"]["tolerations"] = [{"operator": "Exists"}]


def everything(made):
    made["nodeAgent"]["enabled"] = True
    made["nodeAgent"]["captureOutbound"] = True
    made["discovery"] = {"namespaces": ["shop", "data"], "clients": ["web", "shop"]}
    made["injector"]["settings"] = {"identity": "csi", "workers": 2, "rewrite-probes": True}


def wrong(path, value):
    def change(made):
        for step in path[:-1]:
            made = made[step]
        made[path[-1]] = value

    return values(change)


for bad in [
    wrong(["injector", "replicas"], 0),
    wrong(["injector", "failurePolicy"], "Maybe"),
    wrong(["injector", "replica"], 2),
    wrong(["injector", "certificate"], {"selfSigned": False}),
    wrong(["image"], {"tag": "1"}),
    wrong(["nodeAgent", "waive"], ["everything"]),
    wrong(["discovery", "namespaces"], ["Shop"]),
]:
    try:
        jsonschema.validate(bad, schema)
    except jsonschema.ValidationError:
        continue
    sys.exit(f"the schema takes {bad}")

with tempfile.TemporaryDirectory() as folder:
    renderer = os.path.join(folder, "render")
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOPATH": folder, "GO111MODULE": "off"}
    environment.setdefault("GOCACHE", os.path.join(tempfile.gettempdir(), "pillion-go-cache"))
    source = os.path.join(here, "render_chart.go")
    subprocess.run([compiler, "build", "-o", renderer, source], check=True, env=environment)
    files = []
    for number, made in enumerate([values(lambda made: None), values(given), values(everything)]):
        jsonschema.validate(made, schema)
        files.append(os.path.join(folder, f"{number}.yaml"))
        with open(files[-1], "w", encoding="utf-8") as out:
            subprocess.run([renderer, chart, "pillion", "mesh", json.dumps(made)], check=True, stdout=out)
    judge = os.path.join(here, "kubernetes_schemas.py")
    sys.exit(subprocess.run([sys.executable, judge, versions, *files], check=False).returncode)
