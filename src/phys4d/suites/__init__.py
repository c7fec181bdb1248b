"""Suites: protocols of public benchmarks, and our own beside them, each run exactly as it states itself.

A suite is a function of a `SuiteRequest` that returns a `Report`; its arithmetic lives in `phys4d.evaluation`.
`phys4d evaluate --suite NAME` runs one. To add one, write a file with a function decorated by
`@SUITES.register("name")`, and import it in `suites`.
"""

from phys4d.suites.suite import SUITES, Suite, SuiteRequest, suite_of, suites

__all__ = ["SUITES", "Suite", "SuiteRequest", "suite_of", "suites"]
