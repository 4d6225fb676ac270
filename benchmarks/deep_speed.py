"""What does an epoch of DANN cost beside the same loop, written by hand in torch?

Both train the same modules on the same batches with the same optimizer; the program
first checks, for each setting, that two epochs lead to the same parameters. Then whole
epochs of both (and, with ``--skorch``, of skorch's own loop on our module) are timed
in turn, and the median of the ratios is taken. Run::

    OMP_NUM_THREADS=1 python benchmarks/deep_speed.py --out deep_speed.csv

CPU seconds are those of this process, so other programs on the machine matter less;
on a GPU only wall seconds are compared. Rows per second counts the rows of a step
(source, labeled and other target rows). ``--profile`` lists the functions that take
the time of ours instead.

``--nets`` times nets of several heads, paired nets and alignments with modules of their
own. For these the loop by hand goes over the library's own batches and module, so that
the ratio is that of the loop alone: ``for`` over the batches, losses, backward, step of
the optimizer, and one reading of the mean loss at the end of an epoch.
"""

import argparse
import contextlib
import copy
import cProfile
import csv
import math
import pstats
import time

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch.nn import functional as F

from sktransfer.deep import (
    DANN,
    DATN,
    WSDTN,
    ClassifierDiscrepancyAlignment,
    ConditionalAlignment,
    ContrastiveAlignment,
    MomentMatchingAlignment,
    MultiAdversarialAlignment,
    MultiTaskNetClassifier,
    PCGrad,
    TransferNetClassifier,
    UncertaintyWeighting,
    WassersteinAlignment,
)

FIELDS = [
    "rows", "batch", "gate", "device", "loop", "steps", "cpu_ms_per_step",
    "wall_ms_per_step", "rows_per_second", "cpu_ratio", "wall_ratio",
]  # fmt: skip
N_FEATURES, N_CLASSES, SHARE_LABELED = 64, 10, 0.1
BETAS = (0.9, 0.999)


def make_rows(n, seed=0):
    """Half source, half target rows of shifted Gaussian classes, 10 % labeled."""
    rng = np.random.RandomState(seed)
    y = rng.randint(N_CLASSES, size=n)
    X = rng.normal(size=(n, N_FEATURES)) + 2 * np.eye(N_CLASSES, N_FEATURES)[y]
    domain = np.repeat([1, -1], n // 2)
    X[domain < 0] += 0.5
    unlabeled = (domain < 0) & (rng.uniform(size=n) > SHARE_LABELED)
    return X.astype(np.float32), np.where(unlabeled, np.nan, y), domain


class Catch(Callback):
    """Keep what a fit trains on: its rows and its untrained module."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Copy the module before the first epoch."""
        self.rows, self.module = X, copy.deepcopy(net.module_)


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None


class BareLoop:
    """DANN as one would write it for one data set, without any library.

    Parameters
    ----------
    rows : DomainRows
        Tensors on the device.
    module : TransferModule
        Initial state of the modules; they are copied.
    net : DANN
        Settings.
    """

    def __init__(self, rows, module, net):
        module = copy.deepcopy(module)
        self.extractor, self.head = module.extractor, module.head
        self.discriminator = module.discriminator
        self.gate_discriminator = module.gate_discriminator
        self.parameters = list(module.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3, betas=BETAS)
        self.gate, self.batch_size, self.max_epochs = (
            net.gate, net.batch_size, net.max_epochs,
        )  # fmt: skip
        gate = module.gate_discriminator or module.discriminator
        self.noise = gate.noise
        self.x, self.sizes, self.epochs = rows.x, rows.sizes, 0
        self.y_source, self.y_labeled = rows.y_source, rows.y_labeled

    def orders(self, n_batches):
        """Shuffle each part, again and again until the epoch is filled."""
        for size in self.sizes:
            width = min(self.batch_size, size)
            needed = n_batches * width
            parts = [torch.randperm(size) for _ in range(-(-needed // size))]
            yield torch.cat(parts)[:needed].view(n_batches, width).to(self.x.device)

    def epoch(self):
        """Train one epoch; return the mean of the loss."""
        n_source, n_labeled, n_target = self.sizes
        n_batches = -(-max(n_source, n_target) // self.batch_size)
        sources, labeleds, targets = self.orders(n_batches)
        total = torch.zeros((), device=self.x.device)
        for i in range(n_batches):
            progress = min((self.epochs + i / n_batches) / self.max_epochs, 1)
            mu = 2 / (1 + math.exp(-10 * progress)) - 1
            source, labeled = sources[i], labeleds[i]
            rows = torch.cat(
                [source, labeled + n_source, targets[i] + n_source + n_labeled]
            )
            x, ys, yl = self.x[rows], self.y_source[source], self.y_labeled[labeled]
            loss = self.loss(x, ys, yl, mu)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        self.epochs += 1
        return total.item() / n_batches

    def loss(self, x, ys, yl, mu):
        """Return the loss of a batch."""
        a, b = len(ys), len(ys) + len(yl)
        features = self.extractor(x)
        outputs = self.head(features[:b])
        source = F.cross_entropy(outputs[:a], ys, reduction="none")
        adversarial, source_weight = self.judge(features, ys, yl, mu)
        if self.gate:
            if self.gate_discriminator is not None:
                more, source_weight = self.judge(features, ys, yl, None)
                adversarial = adversarial + more
            source = source_weight * source
        return source.mean() + F.cross_entropy(outputs[a:], yl) + adversarial

    def judge(self, judged, ys, yl, mu):
        """Return the loss of a discriminator, and the weights of the source rows."""
        a, b, n = len(ys), len(ys) + len(yl), len(judged)
        discriminator = self.discriminator
        if mu is None:
            discriminator = self.gate_discriminator
            spread = torch.cat([judged[:a], judged[b:]]).detach().std(0, correction=0)
            parts = torch.split(judged, [a, b - a, n - b])
            judged = torch.cat(
                [p + self.noise * spread * torch.randn_like(p) for p in parts]
            )
        judged = _Reverse.apply(judged, mu or 0.0)
        hidden, logit = discriminator.hidden, discriminator.logit
        if not self.gate:
            logits = logit(hidden(torch.cat([judged[:a], judged[b:]]))).squeeze(1)
            return F.softplus(logits[:a]).mean() + F.softplus(-logits[a:]).mean(), None
        nil = a + n - b
        code = judged.new_zeros(nil + b, N_CLASSES + 1)
        code[:nil, -1] = 1
        code[torch.arange(nil, len(code)), torch.cat([ys, yl])] = 1
        judged = torch.cat([judged[:a], judged[b:], judged[:b]])
        pairs = (judged[:, :, None] * code[:, None, :]).flatten(1)
        logits = logit(hidden(torch.cat([judged, code, pairs], 1))).squeeze(1)
        joint, to_real = logits[nil : nil + a], logits[nil + a :]
        loss = F.softplus(joint).mean() + F.softplus(-to_real).mean()
        loss = loss + F.softplus(logits[:a]).mean() + F.softplus(-logits[a:nil]).mean()
        return loss, torch.exp(joint.detach()).clamp_max(10.0)


class SkorchLoop(NeuralNet):
    """skorch's own epoch over ready batches, on the same module."""

    def __init__(self, module, criterion, **kwargs):
        super().__init__(module, criterion, callbacks__valid_loss=None, **kwargs)

    def get_iterator(self, dataset, training=False):
        """Return the rows themselves, as our trainer does."""
        return dataset

    def get_split_datasets(self, X, y=None, **fit_params):
        """Do not validate."""
        return X, None

    def train_step(self, batch, **fit_params):
        """Take a step."""
        self._zero_grad_optimizer()
        losses = self.module_(batch, self.criterion_)
        losses["loss"].backward()
        self.optimizer_.step()
        return {"loss": losses["loss"].detach(), "y_pred": None}


def loops(n, batch_size, gate, device):
    """Return functions that train some epochs each, and what they train.

    Returns
    -------
    functions : dict of str to callable
        Each takes a number of epochs.
    n_steps, n_rows : int
        Steps of an epoch; rows of a step.
    parameters : dict of str to list of Parameter
        The parameters of each loop, all of the same start.
    """
    X, y, domain = make_rows(n)
    catch = Catch()
    net = DANN(
        gate=gate, agreement=False, ensemble=False, match="both",
        batch_size=batch_size, max_epochs=50,
        early_stopping=False, random_state=0, device=device, callbacks=[catch],
    )  # fmt: skip
    net.partial_fit(X, y, sample_domain=domain)
    start, rows = catch.module, catch.rows
    bare, ours = BareLoop(rows, start, net), net.net_
    ours.module_.load_state_dict(start.state_dict())
    ours._initialize_optimizer()
    ours.history.clear()
    ours.callbacks_, ours.steps_done_, ours.least_ = [], 0, {}
    plain = SkorchLoop(
        copy.deepcopy(start), ours.criterion, lr=1e-3, train_split=None, verbose=0,
        optimizer=torch.optim.Adam, optimizer__betas=BETAS, device=device,
    ).initialize()  # fmt: skip
    plain.module_.ramp(1.0)
    functions = {
        "bare": lambda epochs: [bare.epoch() for _ in range(epochs)],
        "ours": lambda epochs: ours.train(rows, epochs * rows.n_batches),
        "skorch": lambda epochs: plain.partial_fit(rows, None, epochs=epochs),
    }
    parameters = {"bare": bare.parameters, "ours": list(ours.module_.parameters())}
    n_rows = sum(min(size, batch_size) for size in rows.sizes)
    return functions, rows.n_batches, n_rows, parameters


def check(batch_size, gate, device):
    """Stop unless both loops lead to the same parameters, on 2000 rows."""
    functions, *_, parameters = loops(2000, batch_size, gate, device)
    for name in parameters:
        torch.manual_seed(0)
        functions[name](2)
    pairs = zip(*parameters.values(), strict=True)
    gap = max((a - b).abs().max().item() for a, b in pairs)
    if not gap < 1e-4:
        raise SystemExit(f"The loops differ after two epochs: by {gap:.1e}.")


def time_in_turn(functions, epochs, device, repeats):
    """Return (CPU, wall) seconds of every call, by name."""
    seconds = {name: [] for name in functions}
    for repeat in range(repeats + 1):  # the first is a warm-up
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function(epochs)
            if device == "cuda":
                torch.cuda.synchronize()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            if repeat:
                seconds[name].append(spent)
    return seconds


def measure(n, batch_size, gate, args):
    """Return a line for each loop."""
    check(batch_size, gate, args.device)
    functions, n_steps, n_rows, _ = loops(n, batch_size, gate, args.device)
    if not args.skorch:
        del functions["skorch"]
    # short epochs are repeated, so that a clock tick does not matter
    epochs = max(1, args.steps // n_steps)
    times = time_in_turn(functions, epochs, args.device, args.repeats)
    for name, own in times.items():
        cpu, wall = np.median(own, axis=0) * 1000 / n_steps / epochs
        ratio = np.median(np.divide(own, times["bare"]), axis=0)
        used = wall if args.device == "cuda" else cpu
        values = (n, batch_size, gate, args.device, name, n_steps, round(cpu, 4),
                  round(wall, 4), round(1000 * n_rows / used),
                  *ratio.round(3))  # fmt: skip
        yield dict(zip(FIELDS, values, strict=True))


class CatchLast(Callback):
    """Keep the trainer and the rows of the last training of a fit."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Keep them."""
        self.trainer, self.rows = net, X


def other_nets():
    """Yield names and nets, each with a function that fits it on rows."""
    common = {"max_steps": 2, "random_state": 0, "early_stopping": False}
    for alignment in (
        MomentMatchingAlignment(beta=True),
        ClassifierDiscrepancyAlignment(),
        MultiAdversarialAlignment(),
        ConditionalAlignment(),
        ContrastiveAlignment(),
        WassersteinAlignment(),
    ):
        net = TransferNetClassifier(alignment=alignment, **common)
        yield type(alignment).__name__, net, _fit_sources
    for weighting in "equal", UncertaintyWeighting(), PCGrad():
        net = MultiTaskNetClassifier(weighting=weighting, **common)
        name = weighting if weighting == "equal" else type(weighting).__name__
        yield f"MultiTaskNet, {name}", net, _fit_sources
    half = N_FEATURES // 2
    blocks = list(range(half)), list(range(half, N_FEATURES))
    for cls in DATN, WSDTN:
        net = cls(*blocks, pretrain_iter=1, max_iter=1, random_state=0)
        yield cls.__name__, net, _fit_pairs


def _fit_sources(net, X, y, domain):
    """Fit with three sources."""
    ids = np.where(domain > 0, 1 + np.arange(len(X)) % 3, -1)
    net.fit(X, y, sample_domain=ids)


def _fit_pairs(net, X, y, domain):
    """Fit with two blocks of columns, of which every fourth row has both."""
    X, half = X.copy(), N_FEATURES // 2
    alone = np.arange(len(X)) % 4 > 0
    X[np.ix_(alone & (domain > 0), np.arange(half, N_FEATURES))] = np.nan
    X[np.ix_(alone & (domain < 0), np.arange(half))] = np.nan
    net.fit(X, y, sample_domain=domain)


def bare_epochs(trainer, rows):
    """Return a function that trains the module of a trainer by hand for some epochs."""
    module = trainer.base_module
    criterion = copy.deepcopy(trainer.criterion_)
    learned = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=1e-3)

    def epoch():
        total = 0.0
        module.train()
        module.begin_epoch(rows, 0.5)
        for batch in rows:
            module.ramp(0.5)
            optimizer.zero_grad()
            if hasattr(module, "backward"):  # of several tasks
                loss, _ = module.backward(batch, criterion, contextlib.nullcontext)
            else:
                loss = module(batch, criterion)["loss"]
                loss.backward()
            optimizer.step()
            total = total + loss.detach()
        return total.item() / rows.n_batches

    return lambda epochs: [epoch() for _ in range(epochs)]


def measure_nets(n, args):
    """Print a line for each of the other nets."""
    X, y, domain = make_rows(n)
    print("net", "steps", "bare_ms", "ours_ms", "ours / bare, CPU", sep="\t")
    for name, net, fit in other_nets():
        catch = CatchLast()
        fit(net.set_params(callbacks=[catch]), X, y, domain)
        trainer, rows = catch.trainer, catch.rows
        functions = {"bare": bare_epochs(trainer, rows)}
        trainer.callbacks_ = []
        functions["ours"] = lambda epochs, own=trainer, rows=rows: own.train(
            rows, epochs * rows.n_batches
        )
        epochs = max(1, args.steps // rows.n_batches)
        times = time_in_turn(functions, epochs, args.device, args.repeats)
        cpu = {k: np.array(v)[:, 0] for k, v in times.items()}
        shown = [np.median(v) * 1000 / rows.n_batches / epochs for v in cpu.values()]
        ratio = np.median(cpu["ours"] / cpu["bare"])
        print(name, rows.n_batches, *np.round([*shown, ratio], 3), sep="\t", flush=True)


def profile(n, batch_size, gate, args):
    """Print the functions that take the time of our loop."""
    functions, n_steps, *_ = loops(n, batch_size, gate, args.device)
    for name in "bare", "ours":
        profiler = cProfile.Profile()
        profiler.runcall(functions[name], max(1, args.steps // n_steps))
        print(name)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 20000, 200000])
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=100, help="steps per timing")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--skorch", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--nets", action="store_true")
    parser.add_argument("--out")
    args = parser.parse_args()
    lines = []
    if args.nets:
        measure_nets(args.sizes[0], args)
        return
    for n in args.sizes:
        for batch_size in args.batches:
            for gate in (False, True):
                if args.profile:
                    profile(n, batch_size, gate, args)
                    continue
                for line in measure(n, batch_size, gate, args):
                    lines.append(line)
                    print(*line.values(), sep="\t", flush=True)
    if args.out and lines:
        with open(args.out, "w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(lines)


if __name__ == "__main__":
    main()
