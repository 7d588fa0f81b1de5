#!/usr/bin/python3
"""The benchmarks: futured beside the machine's own limits and the peers, measured in turns within one run. Reports
medians and ratios; asserts nothing. A peer that is not installed is "not measured".

  ./dev bench                    every quick case
  ./dev bench noop one           these cases
  ./dev bench --json backlog     one JSON object a line
  ./dev bench restart            the slow one: a restart with five million queued jobs
"""
import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import cases  # noqa: E402  (beside this file)


class Report:
    """Figures of one case: several runs a subject, then ratios between their medians."""

    def __init__(self, case, title, as_json):
        self.case = case
        self.as_json = as_json
        self.figures = {}  # (subject, metric): values
        if not as_json:
            print(f"\n{case}: {title}")

    def add(self, subject, **metrics):
        for metric, value in metrics.items():
            self.figures.setdefault((subject, metric), []).append(value)

    def not_measured(self, subject, why):
        self._say({"case": self.case, "subject": subject, "not_measured": why}, f"  {subject:34} not measured: {why}")

    def median(self, subject, metric):
        values = self.figures.get((subject, metric))
        return statistics.median(values) if values else None

    def show(self):
        for (subject, metric), values in self.figures.items():
            middle = statistics.median(values)
            line = f"  {subject:34} {metric:24} {middle:>14,.1f}"
            if len(values) > 1:
                line += f"   ({min(values):,.1f} to {max(values):,.1f}, {len(values)} runs)"
            row = {"case": self.case, "subject": subject, "metric": metric, "median": middle, "runs": values}
            self._say(row, line)

    def ratio(self, what, over, metric, over_metric=None, wanted=""):
        """what / over, of medians; said only when both were measured."""
        a, b = self.median(what, metric), self.median(over, over_metric or metric)
        if a is None or not b:
            return
        row = {"case": self.case, "ratio": f"{what} / {over}", "metric": metric, "value": a / b}
        if wanted:
            row["wanted"] = wanted
        self._say(row, f"  {what} / {over}: {a / b:.2f}" + (f"   (wanted: {wanted})" if wanted else ""))

    def wanted(self, subject, metric, text):
        """A figure that the project has set itself, beside what was reached."""
        value = self.median(subject, metric)
        if value is not None:
            row = {"case": self.case, "subject": subject, "metric": metric, "median": value, "wanted": text}
            self._say(row, f"  {subject} {metric}: {value:,.1f}   (wanted: {text})")

    def _say(self, row, line):
        print(json.dumps(row) if self.as_json else line, flush=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    named = "\n".join(f"{name:10} {case.__doc__.splitlines()[0]}" for name, case in cases.ALL.items())
    parser.add_argument("cases", nargs="*", metavar="CASE", help=named)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each subject (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual job counts, for a quick look")
    asked = parser.parse_args()
    for name in asked.cases:
        if name not in cases.ALL:
            parser.error(f"no case {name}: {', '.join(cases.ALL)}")

    build = os.path.dirname(os.environ.get("FUTURED_BIN", os.path.join(cases.ROOT, "build", "bin")))
    # Beside the build: durable figures need a disk, and the temporary folder may be memory.
    base = tempfile.mkdtemp(prefix="bench-", dir=build)
    failed = False
    try:
        setting = cases.Setting(os.path.join(build, "bench"), base, asked.rounds, asked.scale)
        for name in asked.cases or cases.QUICK:
            case = cases.ALL[name]
            report = Report(name, case.__doc__.splitlines()[0], asked.json)
            try:
                case(setting, report)
            except Exception as error:  # one case that breaks does not take the others' figures along
                print(f"bench: {name} broke: {error}", file=sys.stderr)
                failed = True
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
