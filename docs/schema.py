"""Write the shapes of report.json and of a ladder's results.json beside this file, and print the report's keys."""

import json
from pathlib import Path

from phys4d.evaluation.schema import report_schema
from phys4d.ladder.schema import results_schema

for name, schema in (("report", report_schema()), ("results", results_schema())):
    place = Path(__file__).with_name(f"{name}.schema.json")
    place.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
for name, part in report_schema()["properties"].items():
    print(f"{name:16}{part.get('type', '')!s:8}{part.get('description', '')}".rstrip())
