"""How time and memory grow with samples, features and sources, and where they end.

    python benchmarks/scale.py                       # the missing lines of scale.jsonl
    python benchmarks/scale.py UOWQ KMM --anew       # measure these estimators again
    python benchmarks/scale.py --table               # write the table of scale.md
    python benchmarks/scale.py --rows 10000000       # one pass over so many rows
    python benchmarks/scale.py --weights 1000000     # weights of so many rows in chunks
    python benchmarks/scale.py --code PATH           # UOWQ and KMM of another worktree

Growth is measured for every line of ``tests/instances.py`` that differs in class or in
the kind of labels, with the default parameters; required ones are those of the line.
Nets make two epochs, DATN and WSDTN the iterations of their lines. Transformers map
the samples, too. One core. Along each axis (samples per source, features, sources) the
other two stay at 500, 20 and 3; the target has 500 samples, 50 of them labeled. Sizes
double (those of nets are four times the last); an axis ends with the first fit above
``--limit`` seconds that has two before it, or one above ``LONGEST`` that has one, and a
fit is stopped after ``--stop`` seconds. Every fit has a process of its own, after a
small one there, which has paid for imports. Times below 20 ms are the least of three.

Memory is the peak of the resident memory during the fit above that before, plus the
samples and labels. A slope is that of least squares of the logarithms over the last
three sizes with at least ``SHORT`` seconds (``SMALL`` megabytes), and in parentheses
over the last three sizes where fewer than two are that large. The first impractical
size is where a line with this slope through the last size reaches 10 minutes or 20 GB.
A slope below 1 is that of a fixed amount and a linear part: the line goes on with the
growth per unit over the three sizes, for memory at least that of the samples. In
parentheses, the slope counts as 1.
"""

import argparse
import gc
import json
import os
import resource
import select
import signal
import sys
import time
import warnings
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
HERE = Path(__file__).parent
parser = argparse.ArgumentParser()
parser.add_argument("names", nargs="*", help="estimators or rooms; default: all")
parser.add_argument("--lines", type=Path, default=HERE / "scale.jsonl")
parser.add_argument("--limit", type=float, default=0.15, help="seconds of a fit")
parser.add_argument("--stop", type=float, default=6.0, help="seconds of a fit at most")
parser.add_argument("--anew", action="store_true", help="forget the lines of the names")
parser.add_argument("--table", action="store_true", help="write the table of scale.md")
parser.add_argument("--rows", type=int, help="summarize so many rows in chunks")
parser.add_argument("--weights", type=int, help="weigh so many rows in chunks")
parser.add_argument("--code", type=Path, help="worktree whose UOWQ and KMM are timed")
args = parser.parse_args()
ROOT = HERE.parent if args.code is None else args.code
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from threadpoolctl import threadpool_limits

from sktransfer.datasets import make_concept_shift

SECONDS, MEGABYTES = 600.0, 20 * 1024.0
LONGEST, WALL = 0.8, 600.0
SHORT, SMALL = 0.02, 5.0
BEYOND = 1e9
#: megabytes of the samples for a sample per source, a feature and a source
OF_SAMPLES = {"n": 3 * 20 * 8 / 2**20, "d": 2000 * 8 / 2**20, "K": 500 * 20 * 8 / 2**20}
AXES = {
    "n": [250 * 2**k for k in range(9)],
    "d": [10 * 2**k for k in range(8)],
    "K": [2**k for k in range(1, 8)],
}
MARK = "<!-- written by scale.py -->"
#: why an axis is not run, by the way in which samples are given
WITHOUT = {"one source": "takes one source", "plain": "not an axis of it"}


def rows(task, n=500, d=20, K=3, n_target=500):
    """Draw the samples of a task."""
    return make_concept_shift(
        n, n_labeled=50, n_unlabeled=n_target - 50, n_features=d, task=task,
        shift=list(np.linspace(0.2, 1.0, K)), random_state=0,
    )  # fmt: skip


def lines_of_instances():
    """Return (room, class, kind of labels) -> an estimator with default parameters."""
    from instances import ESTIMATORS, PLAIN_ESTIMATORS
    from sklearn.utils import get_tags

    found = {}
    for own in ESTIMATORS + PLAIN_ESTIMATORS:
        kind = get_tags(own).estimator_type or "transformer"
        room = type(own).__module__.split(".")[1]
        found.setdefault((room, type(own).__name__, kind), own)
    order = sorted(found, key=lambda key: (key[0], key[1].lower(), key[2]))
    return {key: with_defaults(found[key]) for key in order}


def with_defaults(own):
    """Return an estimator with its defaults, but for required parameters and effort."""
    import inspect

    parameters = inspect.signature(type(own)).parameters
    kept = [name for name, p in parameters.items() if p.default is p.empty]
    if "pretrain_iter" in parameters:
        kept += ["pretrain_iter", "max_iter", "n_components"]
    given = {name: defaults_inside(getattr(own, name)) for name in kept}
    effort = {"max_epochs": 2, "random_state": 0}
    given |= {name: value for name, value in effort.items() if name in parameters}
    return type(own)(**given)


def defaults_inside(value):
    """Return a learner with its defaults; lists and numbers stay."""
    if isinstance(value, LogisticRegression):
        return LogisticRegression(max_iter=1000)
    if isinstance(value, BaseEstimator) and hasattr(value, "max_steps"):
        return with_defaults(value)
    return value


def fit(name, model, data, values):
    """Fit to samples; a transformer maps them, too."""
    X = np.abs(data.X) if values == "nonnegative" else data.X
    if values == "plain":
        if name == "OTCERegressor":
            X = X[:, :2]
        return model.fit(X, np.nan_to_num(data.y))
    domain = data.sample_domain
    given = {"sample_domain": np.sign(domain) if values == "one source" else domain}
    if name.endswith("Standardization"):  # pairs: the target with the first source
        pairs = np.full(len(X), np.nan)
        for domain in (1, -1):
            own = np.flatnonzero(np.sign(data.sample_domain) == domain)[:250]
            pairs[own] = np.arange(len(own))
        given["sample_pair"] = pairs
    run = model.fit_transform if hasattr(model, "fit_transform") else model.fit
    return run(X, data.y, **given)


def resident(field):
    """Return megabytes of resident memory: VmRSS now, VmHWM at most."""
    with open("/proc/self/status") as file:
        text = file.read()
    return int(text.split(field + ":")[1].split()[0]) / 1024


def cost(name, model, task, axis, size, values):
    """Return CPU seconds and megabytes of a fit in this process."""
    from sklearn.base import clone

    data = rows(task, **{axis: size})
    fit(name, clone(model), rows(task, 100, 20, 2, 100), values)
    seconds = []
    while not seconds or (seconds[0] < SHORT and len(seconds) < 3):
        fresh = clone(model)
        if not seconds:
            Path("/proc/self/clear_refs").write_text("5")
            before = resident("VmRSS")
        begin = time.process_time()
        fit(name, fresh, data, values)
        seconds.append(time.process_time() - begin)
        if len(seconds) == 1:
            held = (data.X.nbytes + data.y.nbytes + data.sample_domain.nbytes) / 2**20
            peak = max(resident("VmHWM") - before, 0.0) + held
    return {"s": round(min(seconds), 5), "mb": round(peak, 2)}


def cpu_of(process):
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_child(run):
    """Return what a function returns in a process of its own, or what ended it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            try:
                answer = run()
            except Exception as error:
                text = str(error).splitlines() or [""]
                answer = {"error": f"{type(error).__name__}: {text[0]}"[:200]}
            os.write(writing, json.dumps(answer).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    ready, waited = [], 0.0
    while not ready and waited < WALL and cpu_of(child) < args.stop:
        ready, _, _ = select.select([reading], [], [], 0.25)
        waited += 0.25
    text = os.read(reading, 65536) if ready else b""
    os.close(reading)
    if not text:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return json.loads(text) if text else {"stopped": args.stop}


def grow(key, model, known, file):
    """Append the lines of an estimator that are missing."""
    room, name, kind = key
    task = "regression" if kind == "regressor" else "classification"

    def small(values):
        def run():
            fit(name, model, rows(task, 100, 20, 2, 100), values)

        return run

    ways = ["any", "nonnegative", "one source", "plain"]
    answers = [in_child(small(ways[0]))]
    while answers[-1] is not None and len(answers) < len(ways):
        answers.append(in_child(small(ways[len(answers)])))
    line = {"room": room, "name": name, "kind": kind}
    if answers[-1] is not None:
        print(json.dumps(line | answers[0]), file=file, flush=True)
        return
    values = ways[len(answers) - 1]
    for axis, sizes in AXES.items():
        if values in ("one source", "plain") and axis == "K":
            continue
        if name == "OTCERegressor" and axis == "d":
            continue  # two features by definition
        seconds = []
        for size in sizes[:: 2 if room == "deep" else 1]:
            found = known.get((*key, axis, size))
            if found is None:
                found = in_child(
                    lambda a=axis, s=size: cost(name, model, task, a, s, values)
                )
                found = line | {"axis": axis, "size": size, "values": values} | found
                print(json.dumps(found), file=file, flush=True)
            if "s" not in found:
                break
            seconds.append(found["s"])
            most = {1: np.inf, 2: LONGEST}.get(len(seconds), args.limit)
            if seconds[-1] > most:
                break


def read_lines(path):
    """Return the stored lines."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def measure_growth(names):
    """Measure what the file lacks; several processes may add to it."""
    if args.anew:
        kept = [line for line in read_lines(args.lines) if line["name"] not in names]
        args.lines.write_text("".join(json.dumps(line) + "\n" for line in kept))
    fields = ("room", "name", "kind", "axis", "size")
    models = lines_of_instances()
    for key, model in models.items():  # imports that a fit makes, once for all children
        if key[1] in ("DANN", "SHOT"):
            fit(key[1], model, rows("classification", 100, 20, 2, 100), "any")
    gc.freeze()  # or each child would copy what its collections touch
    with args.lines.open("a") as file:
        first = {key[:2]: key for key in reversed(models)}
        for key in sorted(models, key=lambda key: first[key[:2]] != key):
            if names and key[1] not in names and key[0] not in names:
                continue
            stored = read_lines(args.lines)
            known = {tuple(line.get(f) for f in fields): line for line in stored}
            if (*key, None, None) in known:
                continue  # no fit
            begin = time.time()
            grow(key, models[key], known, file)
            print(*key, f"{time.time() - begin:.1f} s", flush=True)


def slope(sizes, amounts, least):
    """Return the slope of the logarithms, growth per unit, and whether it is sure."""
    large = [(s, a) for s, a in zip(sizes, amounts, strict=True) if a >= least]
    sure = len(large) > 1
    used = large if sure else list(zip(sizes, amounts, strict=True))
    if len(used) < 2:
        return np.nan, np.nan, False
    used = np.maximum(used[-3:], 1e-4)
    x, y = np.log(used).T
    rise = np.polyfit(*used.T, 1)[0]
    return max(float(np.polyfit(x, y, 1)[0]), 0.0), max(float(rise), 0.0), sure


def round_number(number):
    """Return one significant digit in words."""
    number = float(f"{number:.1g}")
    if number >= 1e6:
        return f"{number / 1e6:,.0f} million"
    return f"{number:,.0f}"


def cells(found):
    """Return time, memory and the first impractical size along an axis."""
    done = [line for line in found if "s" in line]
    ends = [line for line in found if "s" not in line]
    if len(done) < 2:
        why = (
            ends[0].get("error", f"over {ends[0].get('stopped', 6):.0f} s")
            if ends
            else "-"
        )
        where = f" at {ends[0]['size']:,}" if ends else ""
        first = f"{done[0]['s']:.2g} s at {done[0]['size']:,}; " if done else ""
        return [f"{first}{why}{where}", "-", "-"]
    sizes = [line["size"] for line in done]
    texts, limits = [], {}
    for field, unit, least, most, reason in (
        ("s", "s", SHORT, SECONDS, "time"),
        ("mb", "MB", SMALL, MEGABYTES, "memory"),
    ):
        amounts = [line[field] for line in done]
        steep, rise, sure = slope(sizes, amounts, least)
        last = max(amounts[-1], 1e-4)
        if sure and steep < 1:
            if field == "mb":
                rise = max(rise, OF_SAMPLES[done[0]["axis"]])
            limits[reason] = sizes[-1] + (most - last) / rise if rise else np.inf
        else:
            further = steep if sure else 1.0
            limits[reason] = sizes[-1] * (most / last) ** (1 / further)
        shown = f"{steep:.1f}" if sure else f"({steep:.1f})"
        texts.append(f"{last:.2g} {unit}, {shown}" if last < 99.5
                     else f"{last:,.0f} {unit}, {shown}")  # fmt: skip
    texts[0] = texts[0].replace(" s,", f" s at {sizes[-1]:,},")
    reason = min(limits, key=limits.get)
    far = limits[reason]
    if not far <= BEYOND:
        return [*texts, "beyond"]
    return [*texts, f"{round_number(far)}, {reason}"]


def table():
    """Return the table of the stored lines, sorted by room."""
    keep = list(lines_of_instances())
    found = {}
    for line in read_lines(args.lines):
        key = line["room"], line["name"], line["kind"]
        found.setdefault(key, []).append(line)
    head = " | ".join(f"{axis}: time | memory | impractical" for axis in AXES)
    out = []
    room = None
    for key in keep:
        if key[0] != room:
            room = key[0]
            out += ["", f"### `{room}`", "", f"| estimator | {head} |",
                    "| --- |" + " --- |" * 9]  # fmt: skip
        kinds = [k for k in keep if k[:2] == key[:2]]
        name = f"`{key[1]}`" + (f", {key[2]}" if len(kinds) > 1 else "")
        if key not in found:
            out.append(f"| {name} | not run |" + " |" * 8)
            continue
        errors = [line["error"] for line in found[key] if "axis" not in line]
        if errors:
            out.append(f"| {name} | no fit: {errors[0]} |" + " |" * 8)
            continue
        row = []
        for axis in AXES:
            own = [line for line in found[key] if line["axis"] == axis]
            own.sort(key=lambda line: line["size"])
            row += (
                cells(own)
                if own
                else [WITHOUT.get(found[key][0]["values"], "not run"), "-", "-"]
            )
        out.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(out)


def write_table():
    """Write the table between the marks of scale.md."""
    path = HERE / "scale.md"
    before, _, after = path.read_text().split(MARK)
    path.write_text(f"{before}{MARK}\n{table()}\n\n{MARK}{after}")


def print_one_pass(n_rows, chunk=100_000, d=20):
    """Summarize rows that are drawn chunk by chunk; print time and memory."""
    from sktransfer.multisource import summarize_source

    rng, slope = np.random.default_rng(0), np.arange(d) / d
    drawing = 0.0

    def chunks():
        nonlocal drawing
        for start in range(0, n_rows, chunk):
            begin = time.process_time()
            X = rng.normal(size=(min(chunk, n_rows - start), d))
            y = X @ slope + rng.normal(size=len(X))
            drawing += time.process_time() - begin
            yield X, y

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin = time.process_time()
    summary = summarize_source(LinearRegression(), chunks())
    seconds = time.process_time() - begin - drawing
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    error = np.max(np.abs(summary.coef - slope))
    print(
        f"{summary}: {seconds:.1f} s beside {drawing:.1f} s of drawing; peak memory "
        f"{peak:.0f} MB, {before:.0f} MB of it before; noise {summary.noise:.4f}; "
        f"largest error of a coefficient {error:.1e}, of standard error "
        f"{1 / np.sqrt(n_rows):.1e}"
    )


def print_weights_of_chunks(n_rows, chunk=100_000, d=20):
    """Weigh rows that are drawn anew in every pass; print time, memory and error."""
    from sktransfer.instance import density_ratio_of_chunks, kmm_weights_of_chunks

    drawing, passes = 0.0, 0

    def chunks():
        nonlocal drawing, passes
        passes += 1
        rng = np.random.default_rng(0)
        for start in range(0, n_rows, chunk):
            begin = time.process_time()
            X = rng.normal(size=(min(chunk, n_rows - start), d))
            drawing += time.process_time() - begin
            yield X

    target = np.random.default_rng(1).normal(size=(10_000, d))
    target[:, 0] += 0.5
    truth = np.concatenate([np.exp(0.5 * X[:, 0] - 0.125) for X in chunks()])
    for weigh in (density_ratio_of_chunks, kmm_weights_of_chunks):
        drawing, passes = 0.0, 0
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begin = time.process_time()
        weights, info = weigh(chunks, target, return_info=True)
        seconds = time.process_time() - begin - drawing
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{weigh.__name__}: {seconds:.1f} s beside {drawing:.1f} s of drawing, "
            f"{passes} passes; peak memory {peak:.0f} MB, {before:.0f} MB before; "
            f"correlation with the ratio {np.corrcoef(weights, truth)[0, 1]:.3f}\n"
            f"    {info}",
            flush=True,
        )


def print_beside():
    """Print the times of the UOWQ and KMM of this code, to compare worktrees."""
    from sktransfer.instance import kmm_weights
    from sktransfer.multisource import UOWQ

    rng = np.random.default_rng(0)
    centers = 0.2 * rng.normal(size=(7, 1024))
    y = np.append(np.tile(np.arange(600 // 3) % 7, 3), np.repeat(np.arange(7), 3))
    domain = np.append(np.repeat([1, 2, 3], 200), np.full(21, -1))
    shift = 0.1 * np.maximum(domain, 1)[:, None, None] * rng.normal(size=(1, 7, 1024))
    X = (centers + shift)[np.arange(621), y] + rng.normal(size=(621, 1024))
    learner = LogisticRegression(max_iter=1000)
    pooled = cpu(lambda: learner.fit(X, y))
    fit = cpu(lambda: UOWQ(learner).fit(X, y, sample_domain=domain))
    weights = UOWQ(learner).fit(X, y, sample_domain=domain).source_weights_
    print(f"UOWQ, d=1024, 7 classes: {fit:.3f} s, {fit / pooled:.1f} pooled fits; "
          f"weights {weights.round(8).tolist()}", flush=True)  # fmt: skip
    for n in (2000, 4000, 6000):
        A, B = rng.normal(size=(2, n, 20))
        B[:, 0] += 1
        for solver in ("auto", "dense"):
            info = []

            def solve(A=A, B=B, solver=solver, info=info):
                info.append(kmm_weights(
                    A, B, gamma=0.025, solver=solver, return_info=True)[1])  # fmt: skip

            seconds = cpu(solve, 1)
            print(f"KMM, n={n}, {solver} ({info[-1].solver}): {seconds:.2f} s, "
                  f"gap {info[-1].duality_gap:.0e}", flush=True)  # fmt: skip


def cpu(run, repeats=3):
    """Return the median of CPU seconds."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds))


if __name__ == "__main__":
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if args.rows:
            print_one_pass(args.rows)
        elif args.weights:
            print_weights_of_chunks(args.weights)
        elif args.code:
            print_beside()
        elif args.table:
            write_table()
        else:
            measure_growth(args.names)
