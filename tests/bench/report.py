"""Collects figures, prints them as one table, and leaves them as JSON."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time


def say(text):
    """Progress, apart from the table."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def number(value):
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def in_turn(rounds, sides):
    """Runs all sides one after the other, `rounds` times over: {side: {figure: [values]}}."""
    found = {name: {} for name, _ in sides}
    for i in range(rounds):
        for name, work in sides:
            result = work()
            for figure, value in result.items():
                found[name].setdefault(figure, []).append(value)
            say(f"  round {i + 1}: {name}: "
                + ", ".join(f"{k} {number(v)}" for k, v in result.items()))
    return found


class Report:
    def __init__(self):
        self.rows = []

    def add(self, bench, case, figure, ours, other=None, against="", aim=None, of="ratio"):
        """One line. `ours` and `other` are lists with a value per round, or single values; the median
        counts. aim is ("<=" or ">=", bound) on the ratio ours/other, or on ours with of="value"."""
        row = {"bench": bench, "case": case, "figure": figure}
        row["rounds"] = ours if isinstance(ours, list) else [ours]
        row["value"] = statistics.median(row["rounds"])
        if other is not None:
            row["against"] = against
            row["against_rounds"] = other if isinstance(other, list) else [other]
            row["against_value"] = statistics.median(row["against_rounds"])
            if row["against_value"]:
                row["ratio"] = row["value"] / row["against_value"]
        if aim:
            judged = row["value"] if of == "value" else row.get("ratio")
            row["aim"] = {"of": of, "is": aim[0], "bound": aim[1]}
            if judged is not None:
                row["met"] = judged >= aim[1] if aim[0] == ">=" else judged <= aim[1]
        self.rows.append(row)

    def lines(self):
        head = ("name", "case", "figure", "causeway", "against", "", "ratio", "aim", "")
        yield head
        for r in self.rows:
            aim = r.get("aim")
            what = "" if not aim else f"{aim['is']} {number(aim['bound'])}"
            if aim and aim["of"] == "ratio":
                what += " x"
            yield (r["bench"], r["case"], r["figure"], number(r["value"]), r.get("against", ""),
                   number(r.get("against_value")),
                   f"{r['ratio']:.2f}" if "ratio" in r else "", what,
                   "" if "met" not in r else "met" if r["met"] else "missed")

    def print(self):
        lines = list(self.lines())
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        right = {3, 5, 6}
        for line in lines:
            cells = (c.rjust(w) if i in right else c.ljust(w)
                     for i, (c, w) in enumerate(zip(line, widths)))
            print("  ".join(cells).rstrip())

    def markdown(self):
        lines = list(self.lines())
        lines.insert(1, ["---"] * len(lines[0]))
        return "".join("| " + " | ".join(c.replace("|", "/") for c in line) + " |\n" for line in lines)

    def save(self, path, extra):
        with open(path + ".new", "w") as f:
            json.dump({"machine": machine(), **extra, "results": self.rows}, f, indent=1)
            f.write("\n")
        os.replace(path + ".new", path)


def machine():
    """What the figures were measured on."""
    cpu = ""
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) // 1024
    postfix = subprocess.run(["postconf", "-d", "-h", "mail_version"], capture_output=True, text=True)
    return {"cpu": cpu, "processors": os.cpu_count(), "memory_mb": memory,
            "kernel": platform.release(), "system": platform.platform(),
            "postfix": postfix.stdout.strip(), "date": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
