"""cbom_validator.py VERSION FILE: says what is wrong with a CycloneDX document by the published schema, strictly."""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

version, file = sys.argv[1:]
validator = JsonStrictValidator(SchemaVersion.from_version(version))
with open(file, encoding="utf-8") as document:
    errors = validator.validate_str(document.read(), all_errors=True)
found = list(errors or [])
for error in found:
    print(error)
sys.exit(1 if found else 0)
