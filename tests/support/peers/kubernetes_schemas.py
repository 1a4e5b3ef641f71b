"""Judges manifests by the schemas that Kubernetes publishes: kubernetes_schemas.py VERSION[,VERSION…] FILE…

Prints each fault and, at the end, how many objects were judged; ends with 1 where there was a fault."""
import json
import sys
import kubernetes_validate
import yaml


def objects(document):
    if isinstance(document, dict) and str(document.get("kind", "")).endswith("List"):
        kind = document["kind"].removesuffix("List")
        for item in document.get("items", []):
            # What they are may be said by the list alone, as kubectl reads it.
            told = {"apiVersion": document["apiVersion"], "kind": kind} if kind and "kind" not in item else {}
            yield from objects(told | item)
    elif document:
        yield document


judged = faults = 0
for path in sys.argv[2:]:
    with open(path, encoding="utf-8") as text:
        content = text.read()
    try:
        # One after the other, as `kubectl` takes them.
        documents, rest = [], content.strip()
        while path.endswith(".json") and rest:
            document, end = json.JSONDecoder().raw_decode(rest)
            documents, rest = documents + [document], rest[end:].strip()
    except ValueError:
        documents = []
    if not documents:
        # As libyaml and kubectl read it; Python's own reader takes no tab behind a colon.
        documents = list(yaml.load_all(content, Loader=yaml.CSafeLoader))
    for item in (item for document in documents for item in objects(document)):
        item = {key: value for key, value in item.items() if not key.startswith("x-")}
        for version in sys.argv[1].split(","):
            try:
                kubernetes_validate.validate(item, version, strict=True)
                judged += 1
            except kubernetes_validate.SchemaNotFoundError:
                pass  # A custom resource.
            except kubernetes_validate.ValidationError as error:
                faults += 1
                place = ".".join(str(step) for step in error.path)
                print(f"{path}: {version}: {place}: {error.message}")
print(judged)
sys.exit(1 if faults else 0)
