"""Write docs/report.schema.json, the shape of report.json, and print its top-level keys."""

import json
from pathlib import Path

from phys4d.evaluation.schema import report_schema

schema = report_schema()
place = Path(__file__).with_name("report.schema.json")
place.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
for name, part in schema["properties"].items():
    print(f"{name:16}{part.get('type', '')!s:8}{part.get('description', '')}".rstrip())
