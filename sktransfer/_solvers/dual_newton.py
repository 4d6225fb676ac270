r"""Low-rank quadratic programs over a box and a slab, by Newton's method in the dual.

.. math:: \min_b \tfrac12 \lVert Gb - c \rVert^2 + \tfrac12 b'\operatorname{diag}(e)b
          \quad\text{s.t.}\quad 0 \le b \le u,\; l \le \textstyle\sum_i b_i \le h

with G of shape (rank, n). For :math:`y = Gb - c` fixed the minimizer over b is
:math:`b(y) = \operatorname{clip}((-G'y - \lambda) / e, 0, u)` with the multiplier
:math:`\lambda` of the slab, so the problem is a smooth one of `rank` variables,

.. math:: y + c = G\,b(y),

the gradient of a convex, piecewise quadratic function. Newton's method on it ends
after few steps, and a step costs two products with G and a system of size `rank`,
solved by conjugate gradients with the matrix of a sample of the columns as the
preconditioner. Where e is not clearly positive, proximal steps add to it [1]_. A
problem of many columns starts from the solution of a sample of them.

References
----------
.. [1] X. Li, D. Sun, K.-C. Toh. A highly efficient semismooth Newton augmented
   Lagrangian method for solving Lasso problems. SIAM Journal on Optimization 28(1),
   2018. :doi:`10.1137/16M1097572`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

from sktransfer._solvers.array_api import array_like, namespace_of, to_numpy
from sktransfer._solvers.box_qp import conjugate_gradients, robust_cholesky
from sktransfer._solvers.kernels import (
    order_free_ranks,
    order_free_sample,
    take_from_chunks,
)
from sktransfer._solvers.projections import minimize_linear

Array = npt.NDArray[Any]

#: columns of G in one block of a product
_BLOCK = 4096
#: columns per row of G that the preconditioner is made of
_SAMPLE = 30
#: Newton steps before the proximal term changes
_ROUND = 20
#: a problem with more columns starts from the solution of so many
_COARSE = 20000


@dataclass(frozen=True)
class Columns:
    """The data of a problem: G, c, e and the bounds.

    Attributes
    ----------
    G : ndarray of shape (rank, n)
        The factor, in float64 or float32; sums are taken in float64.
    c : ndarray of shape (rank,)
        What Gb is to match.
    e : ndarray of shape (n,)
        The diagonal, at least 0.
    upper : float
        Largest value of a coordinate.
    bounds : tuple of two floats
        Bounds of the sum.
    """

    G: Array
    c: Array
    e: Array
    upper: float
    bounds: tuple[float, float]

    def forward(self, b: Array) -> Array:
        """Compute Gb in float64."""
        total = np.zeros(self.G.shape[0])
        for part in _blocks(b.size):
            total += self.G[:, part].astype(np.float64, copy=False) @ b[part]
        return total

    def backward(self, y: Array) -> Array:
        """Compute G'y in float64."""
        out = np.empty(self.G.shape[1])
        for part in _blocks(out.size):
            out[part] = y @ self.G[:, part].astype(np.float64, copy=False)
        return out

    def normal(self, v: Array, weight: Array) -> Array:
        """Compute G diag(weight) G'v in the precision of G."""
        dtype = self.G.dtype
        v, total = v.astype(dtype), np.zeros(self.G.shape[0])
        for part in _blocks(weight.size):
            block = self.G[:, part]
            total += block @ ((v @ block) * weight[part]).astype(dtype)
        return total

    def squares(self) -> float:
        """Compute the sum of squares of G."""
        blocks = (self.G[:, part] for part in _blocks(self.G.shape[1]))
        return sum(float(np.einsum("ij,ij->", block, block)) for block in blocks)

    def take(self, rows: npt.NDArray[np.intp]) -> Array:
        """Return some columns of G."""
        return np.asfortranarray(self.G[:, rows])

    def order_free_sample(self, size: int) -> npt.NDArray[np.intp]:
        """Sample columns, the same ones whatever their order."""
        return order_free_sample(self.G.T, size, 0)

    def sample_size(self, rank: int) -> int:
        """How many free columns the preconditioner is made of."""
        return _SAMPLE * rank

    def core(self, chosen: npt.NDArray[np.intp], weight: Array) -> tuple[Array, Array]:
        """Compute G diag(weight) G' and G weight of some columns in float64."""
        core, total = np.zeros((self.G.shape[0],) * 2), np.zeros(self.G.shape[0])
        for part in _blocks(chosen.size):
            block = self.G[:, chosen[part]].astype(np.float64, copy=False)
            scaled = block * weight[part]
            core += scaled @ block.T
            total += scaled.sum(axis=1)
        return core, total


@dataclass(frozen=True)
class ChunkedColumns:
    """The data of a problem whose G is computed anew, in chunks, for every product.

    Newton's systems are solved exactly, as a pass costs more than a factorization.

    Attributes
    ----------
    chunks : iterable of ndarray of shape (rank, n_chunk)
        The columns of G in their order, the same in every iteration.
    c, e, upper, bounds
        As in :class:`Columns`.
    """

    chunks: Iterable[Array]
    c: Array
    e: Array
    upper: float
    bounds: tuple[float, float]

    def _parts(self) -> Iterator[tuple[slice, Array]]:
        start = 0
        for block in self.chunks:
            yield slice(start, start + block.shape[1]), block
            start += block.shape[1]

    def forward(self, b: Array) -> Array:
        """Compute Gb."""
        total = np.zeros(self.c.size)
        for part, block in self._parts():
            total += block @ b[part]
        return total

    def backward(self, y: Array) -> Array:
        """Compute G'y."""
        out = np.empty(self.e.size)
        for part, block in self._parts():
            out[part] = y @ block
        return out

    def normal(self, v: Array, weight: Array) -> Array:
        """Compute G diag(weight) G'v."""
        return self.forward(weight * self.backward(v))

    def matvec(self, b: Array) -> Array:
        """Compute (G'G + diag(e)) b."""
        product: Array = self.backward(self.forward(b)) + self.e * b
        return product

    def squares(self) -> float:
        """Compute the sum of squares of G."""
        return sum(float(np.einsum("ij,ij->", block, block)) for block in self.chunks)

    def take(self, rows: npt.NDArray[np.intp]) -> Array:
        """Return some columns of G."""
        chunks = (block.T for block in self.chunks)
        return np.asfortranarray(take_from_chunks(chunks, rows).T)

    def order_free_sample(self, size: int) -> npt.NDArray[np.intp]:
        """Sample columns, the same ones whatever their order."""
        return order_free_ranks((block.T for block in self.chunks), size, 0)

    def sample_size(self, rank: int) -> int:
        """How many free columns Newton's system is made of: all."""
        return int(self.e.size)

    def core(self, chosen: npt.NDArray[np.intp], weight: Array) -> tuple[Array, Array]:
        """Compute G diag(weight) G' and G weight of some columns, in rising order."""
        core, total = np.zeros((self.c.size,) * 2), np.zeros(self.c.size)
        for part, block in self._parts():
            low, high = np.searchsorted(chosen, [part.start, part.stop])
            free = block[:, chosen[low:high] - part.start]
            scaled = free * weight[low:high]
            core += scaled @ free.T
            total += scaled.sum(axis=1)
        return core, total


@dataclass(frozen=True)
class DeviceColumns(Columns):
    """The data of a problem whose G is an array of another library.

    What goes in and what comes out are NumPy's; products run on the device of G.
    """

    def forward(self, b: Array) -> Array:
        """Compute Gb."""
        return self._host(self.G @ array_like(b, self.G))

    def backward(self, y: Array) -> Array:
        """Compute G'y."""
        return self._host(array_like(y, self.G) @ self.G)

    def normal(self, v: Array, weight: Array) -> Array:
        """Compute G diag(weight) G'v."""
        v, weight = array_like(v, self.G), array_like(weight, self.G)
        return self._host(self.G @ ((v @ self.G) * weight))

    def matvec(self, b: Array) -> Array:
        """Compute (G'G + diag(e)) b."""
        product: Array = self.backward(self.forward(b)) + self.e * b
        return product

    def squares(self) -> float:
        """Compute the sum of squares of G."""
        return float(namespace_of(self.G).sum(self.G * self.G))

    def take(self, rows: npt.NDArray[np.intp]) -> Array:
        """Return some columns of G, as an array of NumPy."""
        return np.asfortranarray(self._host(self.G[:, self._at(rows)]))

    def order_free_sample(self, size: int) -> npt.NDArray[np.intp]:
        """Sample columns, the same ones whatever their order."""
        rows: npt.NDArray[np.intp] = to_numpy(order_free_sample(self.G.T, size, 0))
        return rows

    def core(self, chosen: npt.NDArray[np.intp], weight: Array) -> tuple[Array, Array]:
        """Compute G diag(weight) G' and G weight of some columns."""
        block = self.G[:, self._at(chosen)]
        scaled = block * array_like(weight, self.G)
        sums = namespace_of(self.G).sum(scaled, axis=1)
        return self._host(scaled @ block.T), self._host(sums)

    def _at(self, rows: npt.NDArray[np.intp]) -> Any:
        return array_like(rows, self.G, namespace_of(self.G).int64)

    def _host(self, values: Any) -> Array:
        found: Array = np.asarray(to_numpy(values), dtype=np.float64)
        return found


Problem = Columns | ChunkedColumns


def _blocks(n: int) -> list[slice]:
    return [slice(i, min(i + _BLOCK, n)) for i in range(0, n, _BLOCK)]


class _Inner:
    r"""The coordinates :math:`b(y)` of a weight w = -G'y (+ proximal term)."""

    def __init__(self, d: Array, upper: float, bounds: tuple[float, float]) -> None:
        self.inverse, self.upper, self.bounds = 1.0 / d, upper, bounds
        self.level = 0.0

    def __call__(self, w: Array) -> Array:
        b = self._at(w, 0.0)
        total = float(b.sum())
        low, high = self.bounds
        if low <= total <= high:
            self.level = 0.0
            return b
        return self._on_slab(w, high if total > high else low)

    def _at(self, w: Array, level: float) -> Array:
        b: Array = w - level
        b *= self.inverse
        return np.clip(b, 0.0, self.upper, out=b)

    def _on_slab(self, w: Array, goal: float) -> Array:
        """Find the level at which the sum is `goal`, by safeguarded Newton steps."""
        top = float(np.max(w))
        bottom = float(np.min(w - self.upper / self.inverse))
        level = min(max(self.level, bottom), top)
        for _ in range(200):
            b = self._at(w, level)
            over = float(b.sum()) - goal
            if abs(over) <= 1e-12 * goal:
                break
            if over > 0:
                bottom = level
            else:
                top = level
            slope = float(self.inverse[(b > 0) & (b < self.upper)].sum())
            new = level + over / slope if slope > 0 else np.inf
            if not bottom < new < top:
                new = (bottom + top) / 2
            if new == level or not bottom < new < top:
                break
            level = new
        self.level = level
        return b


def solve_dual_newton(
    problem: Problem, *, tol: float, max_iter: int, start: Array | None = None
) -> tuple[Array, int]:
    r"""Minimize :math:`\tfrac12 |Gb - c|^2 + \tfrac12 b'\mathrm{diag}(e)b`.

    Parameters
    ----------
    problem : Columns
        The problem; it must have a feasible point.
    tol : float
        Frank-Wolfe gap, relative to ``|objective|``, to stop at.
    max_iter : int
        Largest number of Newton steps.
    start : ndarray of shape (n,), default=None
        The solution of a similar problem.

    Returns
    -------
    b : ndarray of shape (n,)
        A point that satisfies the constraints up to rounding.
    n_iter : int
        Newton steps taken, those on a sample of the columns not counted.
    """
    if start is not None:
        y, floor = _mismatch(problem, start), 1e-2
    elif problem.e.size > 2 * _COARSE:
        y, floor = _coarse_start(problem, tol, max_iter), 1e-2
    else:
        y, floor = _mismatch(problem, _feasible(problem)), _first_floor(problem)
    return _proximal_steps(problem, y, tol, max_iter, floor)


def _first_floor(problem: Problem) -> float:
    return 1e-3 * max(1.0, problem.e.size)


def _feasible(problem: Problem) -> Array:
    n = problem.e.size
    low, high = problem.bounds
    return np.full(n, min(max(1.0, low / n), high / n, problem.upper))


def _mismatch(problem: Problem, b: Array) -> Array:
    return problem.forward(b) - problem.c


def _coarse_start(problem: Problem, tol: float, max_iter: int) -> Array:
    """Solve a sample of the columns, with the diagonal that makes it a small copy."""
    rows = problem.order_free_sample(_COARSE)
    share = rows.size / problem.e.size
    low, high = problem.bounds
    small = Columns(
        problem.take(rows),
        share * problem.c,
        share * problem.e[rows],
        problem.upper,
        (share * low, share * high),
    )
    start = _mismatch(small, _feasible(small))
    b, _ = _proximal_steps(small, start, tol, max_iter, _first_floor(small))
    return _mismatch(small, b) / share


def _proximal_steps(
    problem: Problem, y: Array, tol: float, max_iter: int, floor: float
) -> tuple[Array, int]:
    r"""Run Newton's method with e raised to a floor that falls, until the gap is met.

    Each round adds :math:`\tfrac12 \sum_i (f - e_i)_+ (b_i - p_i)^2` with p the
    solution of the last round.
    """
    unit, center = mean_diagonal(problem), _feasible(problem)
    # the Frank-Wolfe gap is of the order of the root of the dual method's own
    goal, total = max(0.1 * tol**2, 1e-24), 0
    best, lowest, plain = center, np.inf, 0
    while True:
        prox = np.maximum(floor * unit - problem.e, 0.0)
        raised = bool(np.any(prox > 0))
        loose = goal
        if raised and floor > 0.1:
            loose = max(goal, 1e-6)
        elif not raised and plain == 0:
            loose = max(goal, 0.01 * tol)
        limit = min(_ROUND, max_iter - total)
        b, y, steps = _newton(problem, y, prox, center, loose, limit)
        total += steps
        plain += not raised
        gap = frank_wolfe_gap(problem, b)
        if gap < lowest:
            best, lowest = b, gap
        stuck = gap > 100 * lowest or (steps == 0 and floor < 1e-8)
        if lowest <= tol or stuck or total >= max_iter or plain == 2:
            return best, total
        center, floor = b, floor / 10


def mean_diagonal(problem: Problem) -> float:
    """Compute the mean diagonal entry of G'G + diag(e)."""
    return (problem.squares() + float(problem.e.sum())) / problem.e.size


def frank_wolfe_gap(problem: Problem, b: Array) -> float:
    """Compute the Frank-Wolfe gap at a feasible point, relative to ``|objective|``."""
    y = _mismatch(problem, b)
    gradient = problem.backward(y) + problem.e * b
    lowest, _ = minimize_linear(gradient, problem.upper, *problem.bounds)
    return (float(gradient @ b) - lowest) / _scale(problem, b, y)


def _scale(problem: Problem, b: Array, y: Array) -> float:
    objective = 0.5 * float(y @ y - problem.c @ problem.c + problem.e @ (b * b))
    return max(abs(objective), float(np.finfo(float).tiny))


def _newton(
    problem: Problem, y: Array, prox: Array, center: Array, goal: float, max_iter: int
) -> tuple[Array, Array, int]:
    r"""Solve y + c = G b(y); half the squared residual is the duality gap."""
    inner = _Inner(problem.e + prox, problem.upper, problem.bounds)
    w = prox * center - problem.backward(y)
    b = inner(w)
    for step in range(max_iter + 1):
        rest = y - _mismatch(problem, b)
        gap = 0.5 * float(rest @ rest)
        if gap <= goal * _scale(problem, b, y - rest) or step == max_iter:
            return b, y, step
        move = _newton_direction(problem, inner, b, rest)
        slope = -problem.backward(move)
        t = _line_search(inner, y + problem.c, w, move, slope, float(rest @ move))
        if t == 0.0:
            return b, y, step
        y, w = y + t * move, w + t * slope
        b = inner(w)
    raise AssertionError("unreachable")


def _newton_direction(problem: Problem, inner: _Inner, b: Array, rest: Array) -> Array:
    r"""Solve :math:`(I + G_A D^{-1} G_A' - uu'/s) v = -rest`, A the free variables."""
    free = np.flatnonzero((b > 0) & (b < problem.upper))
    if free.size == 0:
        return -rest
    on_slab = inner.level != 0.0
    size = problem.sample_size(rest.size)
    chosen, times = _sample_columns(inner.inverse[free], size)
    weight = inner.inverse[free[chosen]] * times
    factor = robust_cholesky(_dual_matrix(problem, free[chosen], weight, on_slab))

    def precondition(r: Array) -> Array:
        x: Array = linalg.cho_solve(factor, r, check_finite=False)
        return x

    if chosen.size == free.size:
        return precondition(-rest)
    weight = np.zeros(b.size)
    weight[free] = inner.inverse[free]
    u = problem.forward(weight) / np.sqrt(weight.sum()) * on_slab

    def multiply(v: Array) -> Array:
        product: Array = v + problem.normal(v, weight) - u * float(u @ v)
        return product

    move, _ = conjugate_gradients(multiply, -rest, precondition, rtol=1e-2, cap=50)
    return move


def _sample_columns(weight: Array, size: int) -> tuple[Array, Array]:
    """Choose the half of a sample by weight, the rest at random; how often each counts.

    The heaviest columns are few but decide the conditioning.
    """
    if weight.size <= size:
        return np.arange(weight.size), np.ones(weight.size)
    half = size // 2
    order = np.argpartition(-weight, half)
    drawn = np.random.default_rng(0).choice(order[half:], half, replace=False)
    times = np.ones(2 * half)
    times[half:] = (weight.size - half) / half
    chosen = np.concatenate([order[:half], drawn])
    ranks = np.argsort(chosen)
    return chosen[ranks], times[ranks]


def _dual_matrix(
    problem: Problem, chosen: Array, weight: Array, on_slab: bool
) -> Array:
    core, u = problem.core(chosen, weight)
    core.flat[:: core.shape[0] + 1] += 1.0
    if on_slab:
        core -= np.multiply.outer(u, u / weight.sum())
    return core


def _line_search(
    inner: _Inner, at: Array, w: Array, move: Array, slope: Array, first: float
) -> float:
    """Find a step that halves the derivative of the convex dual along `move`."""
    if not first < 0.0:
        return 0.0
    fixed, curve = float(at @ move), float(move @ move)

    def derivative(t: float) -> float:
        return fixed + t * curve + float(slope @ inner(w + t * slope))

    low, high, below, t = 0.0, np.inf, first, 1.0
    for _ in range(40):
        value = derivative(t)
        if abs(value) <= 0.5 * abs(first):
            return t
        if value < 0.0:
            low, below = t, value
        else:
            high, above = t, value
        if not np.isfinite(high):
            if t >= 8.0:
                return t
            t *= 2.0
            continue
        # a secant step kept away from the ends
        share = below / (below - above)
        t = low + min(max(share, 0.1), 0.9) * (high - low)
    return low
