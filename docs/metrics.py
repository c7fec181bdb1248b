"""Print the table of metrics: name, unit, which way is better, and what it needs."""

from phys4d.evaluation import METRICS

MARKS = {"lower": "lower", "higher": "higher", "one": "1 is best"}
for name, row in METRICS.items():
    needs = ", ".join(row.needs)
    against = f" against {', '.join(row.needs_reference)}" if row.needs_reference else ""
    print(f"{name:22}{row.unit or '-':8}{MARKS[row.better]:11}{needs}{against}")
