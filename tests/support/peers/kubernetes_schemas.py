"""Judges manifests by the schemas that Kubernetes publishes: kubernetes_schemas.py VERSION[,VERSION…] FILE…

Prints each fault and, at the end, how many objects were judged; ends with 1 where there was a fault."""
import json
import sys
import kubernetes_validate
import yaml


def objects(document):
    if isinstance(document, dict) and str(document.get("kind", "")).endswith("List"):
        for item in document.get("items", []):
            yield from objects(item)
    elif document:
        yield document


judged = faults = 0
for path in sys.argv[2:]:
    with open(path, encoding="utf-8") as text:
        content = text.read()
    try:
        documents = [json.loads(content)]
    except ValueError:
        documents = list(yaml.safe_load_all(content))
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
