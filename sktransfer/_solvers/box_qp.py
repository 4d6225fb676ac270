r"""Convex quadratic programs over a box and a slab, by an interior-point method.

.. math:: \min_b \tfrac12 b'Qb - q'b
          \quad\text{s.t.}\quad 0 \le b \le u,\; l \le \textstyle\sum_i b_i \le h.

The method sees Q through a *form* that multiplies and that solves
:math:`(Q + \operatorname{diag}(d) + t 11') x = r`. A low-rank form solves it
exactly by Woodbury's identity at a cost linear in n; a dense form by conjugate
gradients with a low-rank preconditioner that is exact on the variables that
matter, so that no n x n matrix is factored.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import linalg

from sktransfer._solvers.kernels import symmetric_product
from sktransfer._solvers.low_rank import pivoted_cholesky
from sktransfer._solvers.projections import minimize_linear, project_box_slab

Array = npt.NDArray[Any]
Solve = Callable[[Array], Array]


@dataclass(frozen=True)
class BoxQPInfo:
    """How well a box-and-slab program was solved.

    Attributes
    ----------
    objective : float
        Value at the solution.
    duality_gap : float
        Upper bound of ``(objective - optimum) / |objective|``: the Frank-Wolfe gap
        ``grad'(b - s)``, s the minimizer of ``grad's`` over the constraints.
    kkt_residual : float
        Natural residual ``max |b - P(b - grad / c)|`` with P the projection on the
        constraints and c the mean absolute value of the linear term.
    n_iter : int
        Iterations.
    converged : bool
        Whether the gap is within the tolerance.
    """

    objective: float
    duality_gap: float
    kkt_residual: float
    n_iter: int
    converged: bool


class Product(Protocol):
    """What a certificate needs to know of Q."""

    def matvec(self, x: Array) -> Array:
        """Multiply."""
        ...


class QuadraticForm(Product, Protocol):
    """What the interior-point method needs to know of Q."""

    @property
    def size(self) -> int:
        """Number of variables."""
        ...

    def shifted(self, d: Array, t: float) -> tuple[Solve, Solve]:
        """Prepare (cheap, accurate) solvers of (Q + diag(d) + t 11') x = r."""
        ...


class LowRankForm:
    r"""The form :math:`Q = G'G + \operatorname{diag}(e)`, G of shape (rank, n)."""

    def __init__(self, G: Array, diagonal: Array | float = 0.0) -> None:
        self.G = G
        self.diagonal = diagonal
        self._block = max(1, 2**20 // max(1, G.shape[0]))

    @property
    def size(self) -> int:
        """Number of variables."""
        return int(self.G.shape[1])

    def matvec(self, x: Array) -> Array:
        """Multiply."""
        product: Array = self._back(self.forward(x)) + self.diagonal * x
        return product

    def forward(self, x: Array) -> Array:
        """Multiply with G."""
        if self.G.dtype == np.float64:
            product: Array = self.G @ x
            return product
        total = np.zeros(self.G.shape[0])
        for start in range(0, x.size, self._block):
            part = slice(start, start + self._block)
            total += self.G[:, part].astype(np.float64) @ x[part]
        return total

    def _back(self, a: Array) -> Array:
        if self.G.dtype == np.float64:
            product: Array = a @ self.G
            return product
        out = np.empty(self.size)
        for start in range(0, out.size, self._block):
            part = slice(start, start + self._block)
            out[part] = a @ self.G[:, part].astype(np.float64)
        return out

    def shifted(self, d: Array, t: float) -> tuple[Solve, Solve]:
        """Prepare the exact solver of (Q + diag(d) + t 11') x = r (Woodbury)."""
        inverse = 1.0 / (d + self.diagonal)
        rank = self.G.shape[0]
        core = np.zeros((rank + 1, rank + 1))
        root = np.sqrt(inverse)
        for start in range(0, self.size, self._block):
            part = slice(start, start + self._block)
            scaled = np.empty((rank + 1, root[part].size))
            np.multiply(self.G[:, part], root[part], out=scaled[:rank])
            scaled[rank] = np.sqrt(t) * root[part]
            core += scaled @ scaled.T
        core[np.diag_indices_from(core)] += 1.0
        factor = linalg.cho_factor(core, overwrite_a=True, check_finite=False)
        shift = np.sqrt(t)

        def solve(r: Array) -> Array:
            first = inverse * r
            small = np.append(self.forward(first), shift * first.sum())
            small = linalg.cho_solve(factor, small, check_finite=False)
            out: Array = first - inverse * (self._back(small[:-1]) + shift * small[-1])
            return out

        return solve, solve


class DenseForm:
    """The form of a dense positive semidefinite matrix.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        The matrix; read only.
    direct_size : int, default=700
        Up to this size every system is solved by a Cholesky factor of its own.
    """

    def __init__(self, K: Array, *, direct_size: int = 700) -> None:
        self.K = K
        self._multiply = symmetric_product(K)
        n = K.shape[0]
        self._direct = n <= direct_size
        self._slow = False
        if not self._direct:
            rank = int(min(600, max(64, n // 10)))
            scale = float(np.mean(K.diagonal()))
            self.G, self.residual, _ = pivoted_cholesky(K, rank, tol=1e-14 * scale)
            self._threshold = self._residual_norm() / 50

    def _residual_norm(self) -> float:
        x = np.sin(np.arange(1.0, self.size + 1.0))
        norm = 0.0
        for _ in range(6):
            x /= np.linalg.norm(x)
            x = self._multiply(x) - (self.G @ x) @ self.G
            norm = float(np.linalg.norm(x))
            if norm == 0.0:
                break
        return norm

    @property
    def size(self) -> int:
        """Number of variables."""
        return int(self.K.shape[0])

    def matvec(self, x: Array) -> Array:
        """Multiply."""
        return self._multiply(x)

    def copy(self) -> "DenseForm":
        """Return the form as it was before it solved any system."""
        other = copy(self)
        other._slow = False
        return other

    def preconditioner(self, d: Array, t: float, slow: bool) -> Solve:
        """Prepare an approximate solver of (K + diag(d) + t 11') X = R.

        Parameters
        ----------
        d : ndarray of shape (n,)
            The diagonal.
        t : float
            The multiple of 11'.
        slow : bool
            Whether to be exact on the variables with a small d.

        Returns
        -------
        solve : callable
            It takes R of shape (n, n_columns).
        """
        exact = np.empty(0, dtype=np.intp)
        if slow:
            exact = np.flatnonzero(d < self._threshold)
        return self._preconditioner(d, t, exact)

    def shifted(self, d: Array, t: float) -> tuple[Solve, Solve]:
        """Prepare solvers of (K + diag(d) + t 11') x = r."""
        exact = np.empty(0, dtype=np.intp)
        if self._slow and not self._direct:
            exact = np.flatnonzero(d < self._threshold)
        if self._direct or exact.size > 0.7 * self.size:
            solve = _cholesky_solver(self.K, d, t)
            return solve, solve
        cheap = self._preconditioner(d, t, exact)

        def accurate(r: Array) -> Array:
            x, n_iter = conjugate_gradients(
                lambda v: self._multiply(v) + d * v + t * v.sum(), r, cheap, rtol=1e-2
            )
            self._slow = self._slow or n_iter > 20
            return x

        return cheap, accurate

    def _preconditioner(self, d: Array, t: float, exact: Array) -> Solve:
        r"""Solve with :math:`G'G + t 11' + D`, D exact (E + d) on some variables."""
        root = 1.0 / np.sqrt(d + self.residual)
        scaled = np.empty((self.G.shape[0] + 1, self.size))
        np.multiply(self.G, root, out=scaled[:-1])
        scaled[-1] = np.sqrt(t) * root
        half, lower = scaled[:, :0], np.empty((0, 0))
        if exact.size:
            part = self.G[:, exact]
            inner = self.K[np.ix_(exact, exact)] - part.T @ part
            inner[np.diag_indices_from(inner)] += d[exact] + 1e-14
            lower, _ = robust_cholesky(inner)
            basis = np.vstack([part, np.full((1, exact.size), np.sqrt(t))])
            # one triangular solve: with D = L L' on these variables it is L^-1 basis'
            half = linalg.solve_triangular(
                lower, basis.T, lower=True, check_finite=False
            ).T
            # zero there, so that the sum of both parts is that of all variables
            root, scaled[:, exact] = root.copy(), 0.0
            root[exact] = 0.0
        core = scaled @ scaled.T + half @ half.T
        core[np.diag_indices_from(core)] += 1.0
        core_factor = robust_cholesky(core)

        def solve(r: Array) -> Array:
            first = (root * r.T).T
            right = scaled @ first
            if exact.size:
                y = linalg.solve_triangular(
                    lower, r[exact], lower=True, check_finite=False
                )
                right += half @ y
            small = linalg.cho_solve(core_factor, right, check_finite=False)
            out: Array = (root * (first - scaled.T @ small).T).T
            if exact.size:
                out[exact] = linalg.solve_triangular(
                    lower, y - half.T @ small, lower=True, trans=1, check_finite=False
                )
            return out

        return solve


def robust_cholesky(A: Array) -> Any:
    """Factor A, with the smallest ridge that rounding makes necessary."""
    ridge, scale = 0.0, float(np.mean(A.diagonal()))
    while True:
        try:
            shifted = A if ridge == 0.0 else A + ridge * np.eye(A.shape[0])
            return linalg.cho_factor(shifted, lower=True, check_finite=False)
        except linalg.LinAlgError:
            if ridge > scale:
                raise
            ridge = max(10 * ridge, 1e-14 * scale)


def _cholesky_solver(K: Array, d: Array, t: float) -> Solve:
    A = K + t
    A[np.diag_indices_from(A)] += d
    factor = robust_cholesky(A)

    def solve(r: Array) -> Array:
        x: Array = linalg.cho_solve(factor, r, check_finite=False)
        return x

    return solve


def conjugate_gradients(
    multiply: Solve,
    r: Array,
    precondition: Solve,
    *,
    rtol: float = 1e-3,
    cap: int = 100,
) -> tuple[Array, int]:
    """Solve a positive definite system by preconditioned conjugate gradients.

    Parameters
    ----------
    multiply : callable
        Product with the matrix.
    r : ndarray of shape (n,)
        Right-hand side.
    precondition : callable
        Product with an approximate inverse.
    rtol : float, default=1e-3
        Relative size of the residual, in the preconditioner's norm, to stop at.
    cap : int, default=60
        Largest number of iterations.

    Returns
    -------
    x : ndarray of shape (n,)
        Solution.
    n_iter : int
        Iterations taken.
    """
    x = np.zeros_like(r)
    rest = r.copy()
    z = precondition(rest)
    direction = z.copy()
    size = float(rest @ z)
    goal = rtol**2 * size
    for step in range(1, cap + 1):
        if size <= goal or size <= 0.0:
            return x, step - 1
        image = multiply(direction)
        length = size / float(direction @ image)
        x += length * direction
        rest -= length * image
        z = precondition(rest)
        new_size = float(rest @ z)
        direction = z + (new_size / size) * direction
        size = new_size
    return x, cap


def solve_box_qp(
    form: QuadraticForm,
    linear: Array,
    *,
    upper: float,
    sum_bounds: tuple[float, float],
    tol: float = 1e-6,
    max_iter: int = 100,
) -> tuple[Array, BoxQPInfo]:
    r"""Minimize :math:`\tfrac12 b'Qb - q'b` over a box and a slab.

    Parameters
    ----------
    form : QuadraticForm
        The positive semidefinite Q.
    linear : ndarray of shape (n,)
        q.
    upper : float
        Largest value of a coordinate, > 0.
    sum_bounds : tuple of two floats
        Bounds of the sum of the coordinates.
    tol : float, default=1e-6
        Relative duality gap to stop at.
    max_iter : int, default=100
        Largest number of interior-point iterations.

    Returns
    -------
    b : ndarray of shape (n,)
        The best feasible point seen.
    info : BoxQPInfo
        Its certificate.

    Raises
    ------
    ValueError
        If no point satisfies the constraints.
    """
    low, high = max(0.0, sum_bounds[0]), min(sum_bounds[1], form.size * upper)
    if low > high * (1 + 1e-12):
        raise ValueError(
            f"no point has coordinates in [0, {upper:g}] and a sum of {low:g} or more:"
            " raise the upper bound or widen the bounds of the sum"
        )
    low = min(low, high)
    certify = Certifier(form, linear, upper, (low, high))
    if form.size == 1 or low >= form.size * upper * (1 - 1e-9):
        x = np.full(form.size, low / form.size if form.size > 1 else 0.0)
        if form.size == 1:
            curvature = float(form.matvec(np.ones(1))[0])
            free = float(linear[0]) / curvature if curvature > 0 else high
            x = np.array([min(max(free, low), high)])
        return x, certify(x, 0, tol)
    best: Array | None = None
    best_info: BoxQPInfo | None = None
    total = 0
    # the floor damps directions that Q leaves free; rounding decides which one works
    for floor in (1e-9, 1e-8, 1e-10):
        point = _InteriorPoint(form, linear, upper, (low, high), floor)
        while True:
            x = certify.project(point.x)
            info = certify(x, total, tol)
            if best_info is None or info.duality_gap < best_info.duality_gap:
                best, best_info = x, info
            if info.converged or total >= max_iter or not point.advance():
                break
            total += 1
        if best_info.converged or total >= max_iter:
            break
    assert best is not None and best_info is not None
    return best, replace(best_info, n_iter=total)


class Certifier:
    """Objective, Frank-Wolfe gap and natural residual at a feasible point."""

    def __init__(
        self, form: Product, q: Array, upper: float, bounds: tuple[float, float]
    ) -> None:
        self.form, self.q, self.upper, self.bounds = form, q, upper, bounds
        self.unit = float(np.mean(np.abs(q))) or 1.0

    def project(self, x: Array) -> Array:
        if self.bounds[0] <= x.sum() <= self.bounds[1]:
            return x
        return project_box_slab(x, self.upper, *self.bounds)

    def __call__(
        self, x: Array, n_iter: int, tol: float, product: Array | None = None
    ) -> BoxQPInfo:
        if product is None:
            product = self.form.matvec(x)
        gradient = product - self.q
        objective = float(0.5 * x @ product - self.q @ x)
        lowest, _ = minimize_linear(gradient, self.upper, *self.bounds)
        scale = max(abs(objective), np.finfo(float).tiny)
        gap = max(0.0, float(gradient @ x) - lowest) / scale
        moved = project_box_slab(x - gradient / self.unit, self.upper, *self.bounds)
        residual = float(np.max(np.abs(x - moved)))
        return BoxQPInfo(objective, gap, residual, n_iter, gap <= tol)


class _InteriorPoint:
    """Mehrotra's predictor-corrector steps for the box and the slab."""

    def __init__(
        self,
        form: QuadraticForm,
        q: Array,
        upper: float,
        bounds: tuple[float, float],
        floor: float,
    ) -> None:
        self.form, self.q, self.upper = form, q, upper
        n = form.size
        # a slab without an interior gets a tiny one; the certificate projects
        margin = 1e-7 * max(bounds[1], 1e-300)
        width = bounds[1] - bounds[0]
        pad = margin if width < margin else 0.0
        self.low, self.high = bounds[0] - pad, bounds[1] + pad
        top = min(self.high, n * upper)
        middle = min(max(float(n), self.low), top)
        if not self.low < middle < top:
            middle = (self.low + top) / 2
        self.x = np.full(n, middle / n)
        gradient = form.matvec(self.x) - q
        unit = float(np.mean(np.abs(gradient))) or 1.0
        self.z = np.maximum(gradient, 0.0) + unit
        self.w = np.full(n, unit * middle / n / upper) + np.maximum(-gradient, 0.0) * (
            middle / n > upper / 10
        )
        self.zl = self.zu = 0.1 * unit
        self.floor = floor * unit
        self.n_steps = 0

    def advance(self) -> bool:
        """Take one step; False where rounding stops all progress."""
        x, z, w, n = self.x, self.z, self.w, self.x.size
        room = self.upper - x
        below = max(float(x.sum()) - self.low, 1e-300)
        above = max(self.high - float(x.sum()), 1e-300)
        mu = float(x @ z + room @ w + below * self.zl + above * self.zu) / (2 * n + 2)
        dual = self.form.matvec(x) - self.q - z + w + (self.zu - self.zl)
        t = self.zl / below + self.zu / above
        cheap, accurate = self.form.shifted(z / x + w / room + self.floor, t)

        def step(solve: Solve, rz: Array, rw: Array, rl: float, ru: float) -> _Step:
            rhs = -dual - rz / x + rw / room - (rl / below - ru / above)
            dx = solve(rhs)
            ds = float(dx.sum())
            return _Step(
                dx,
                (-rz - z * dx) / x,
                (-rw + w * dx) / room,
                (-rl - self.zl * ds) / below,
                (-ru + self.zu * ds) / above,
                ds,
            )

        def longest(s: _Step) -> float:
            primal = min(_ratio(x, s.dx), _ratio(room, -s.dx))
            slab = min(_scalar_ratio(below, s.ds), _scalar_ratio(above, -s.ds))
            dual = min(_ratio(z, s.dz), _ratio(w, s.dw))
            sides = min(_scalar_ratio(self.zl, s.dl), _scalar_ratio(self.zu, s.du))
            return min(primal, slab, dual, sides)

        s = step(cheap, x * z, room * w, below * self.zl, above * self.zu)
        a = min(1.0, longest(s))
        after = (
            float((x + a * s.dx) @ (z + a * s.dz) + (room - a * s.dx) @ (w + a * s.dw))
            + (below + a * s.ds) * (self.zl + a * s.dl)
            + (above - a * s.ds) * (self.zu + a * s.du)
        ) / (2 * n + 2)
        goal = mu * min(1.0, max(after / mu, 0.0)) ** 3
        s = step(
            accurate,
            x * z + s.dx * s.dz - goal,
            room * w - s.dx * s.dw - goal,
            below * self.zl + s.ds * s.dl - goal,
            above * self.zu - s.ds * s.du - goal,
        )
        a = min(1.0, 0.99 * longest(s))
        if not np.all(np.isfinite(s.dx)) or a < 1e-12:
            return False
        self.x, self.z, self.w = x + a * s.dx, z + a * s.dz, w + a * s.dw
        self.zl, self.zu = self.zl + a * s.dl, self.zu + a * s.du
        return True


@dataclass(frozen=True)
class _Step:
    dx: Array
    dz: Array
    dw: Array
    dl: float
    du: float
    ds: float


def _ratio(v: Array, d: Array) -> float:
    falling = d < 0
    return float(np.min(-v[falling] / d[falling], initial=np.inf))


def _scalar_ratio(v: float, d: float) -> float:
    return -v / d if d < 0 else np.inf


def solve_box_qps(
    form: QuadraticForm,
    linears: Array,
    *,
    upper: float,
    sum_bounds: tuple[float, float],
    tol: float = 1e-6,
    max_iter: int = 100,
) -> list[tuple[Array, BoxQPInfo]]:
    r"""Solve programs that share Q and the constraints, all at once.

    Parameters
    ----------
    form : QuadraticForm
        The positive semidefinite Q.
    linears : ndarray of shape (n, n_programs)
        A linear term q per program.
    upper : float
        Largest value of a coordinate, > 0.
    sum_bounds : tuple of two floats
        Bounds of the sum of the coordinates.
    tol : float, default=1e-6
        Relative duality gap to stop at.
    max_iter : int, default=100
        Largest number of interior-point iterations.

    Returns
    -------
    solutions : list of (b, info)
        As those of :func:`solve_box_qp`, one per program.

    Notes
    -----
    Similar linear terms have similar central paths. With a large dense matrix the
    programs therefore take their interior-point steps together: one preconditioner, at
    the geometric mean of their diagonals, and one product with the matrix per step of
    conjugate gradients serve all of them. Near the end the diagonals differ, and a
    program that does not get there in this company goes on alone from where it was.
    """
    options: dict[str, Any] = {"upper": upper, "sum_bounds": sum_bounds, "tol": tol}
    solved: dict[int, tuple[Array, BoxQPInfo]] = {}
    points: dict[int, _InteriorPoint] = {}
    low, high = max(0.0, sum_bounds[0]), min(sum_bounds[1], form.size * upper)
    if isinstance(form, DenseForm) and form.size >= _TOGETHER and low < high:
        solved, points = _solve_together(
            form, linears, upper, (low, high), tol, max_iter
        )
        form = form.copy()
    for k, point in points.items():
        certify = Certifier(form, linears[:, k], upper, (low, high))
        found = _go_on(point, form, certify, tol, min(max_iter, _MOST_ALONE))
        if found is not None:
            solved[k] = found
    return [
        solved.get(k) or solve_box_qp(form, q, max_iter=max_iter, **options)
        for k, q in enumerate(linears.T)
    ]


def _go_on(
    point: "_InteriorPoint",
    form: QuadraticForm,
    certify: Certifier,
    tol: float,
    steps: int,
) -> tuple[Array, BoxQPInfo] | None:
    """Take steps of one program from a point; None where they do not suffice."""
    point.form = form
    for step in range(steps + 1):
        if step and not point.advance():
            return None
        x = certify.project(point.x)
        info = certify(x, point.n_steps + step, tol)
        if info.converged:
            return x, info
    return None


#: from this size on, programs with one matrix are solved together
_TOGETHER = 2000
#: programs go on alone where a step does not shrink the largest gap by this factor
_STALLED = 0.6
#: most steps of a program that goes on alone
_MOST_ALONE = 12


def _solve_together(
    form: DenseForm,
    linears: Array,
    upper: float,
    bounds: tuple[float, float],
    tol: float,
    max_iter: int,
) -> tuple[dict[int, tuple[Array, BoxQPInfo]], dict[int, "_InteriorPoint"]]:
    """Return what was solved in common steps, and where the others were best."""
    certify = [Certifier(form, q, upper, bounds) for q in linears.T]
    singles = [_InteriorPoint(form, q, upper, bounds, 1e-9) for q in linears.T]
    points = _InteriorPoints(form, linears, singles)
    open_, solved = np.arange(linears.shape[1]), {}
    least, best = np.inf, np.full(linears.shape[1], np.inf)
    for step in range(max_iter + 1):
        gaps = []
        projected = [
            certify[k].project(x) for k, x in zip(open_, points.x.T, strict=True)
        ]
        X = np.stack(projected, axis=1)
        products = form.K @ X
        for j, (k, x) in enumerate(zip(open_, projected, strict=True)):
            info = certify[k](x, step, tol, products[:, j])
            gaps.append(info.duality_gap)
            if info.converged:
                solved[int(k)] = x, info
            if info.duality_gap < best[k]:
                best[k] = info.duality_gap
                points.leave(j, singles[k], step)
        going = np.array(gaps) > tol
        if not going.any():
            break
        stalled = step > 1 and not max(gaps) < _STALLED * least
        least = min(least, max(gaps))
        if stalled or not np.all(np.isfinite(gaps)):
            break
        open_ = open_[going]
        inside = np.array_equal(X, points.x)
        points.keep(going)
        points.advance(products[:, going] if inside else None)
    others = {k: one for k, one in enumerate(singles) if k not in solved}
    return solved, others


class _InteriorPoints:
    """Mehrotra's steps of several programs with one dense matrix, in common."""

    def __init__(
        self, form: DenseForm, linears: Array, singles: list[_InteriorPoint]
    ) -> None:
        first = singles[0]
        self.form, self.q, self.upper = form, linears, first.upper
        self.low, self.high, self.slow = first.low, first.high, False
        self.x = np.stack([s.x for s in singles], axis=1)
        self.z = np.stack([s.z for s in singles], axis=1)
        self.w = np.stack([s.w for s in singles], axis=1)
        self.zl = np.array([s.zl for s in singles])
        self.zu = np.array([s.zu for s in singles])
        self.floor = np.array([s.floor for s in singles])

    def keep(self, going: Array) -> None:
        """Drop the other programs."""
        for name in ("q", "x", "z", "w", "zl", "zu", "floor"):
            setattr(self, name, getattr(self, name)[..., going])

    def leave(self, j: int, single: _InteriorPoint, step: int) -> None:
        """Give the point of one program to a method of its own."""
        single.x, single.z, single.w = (
            np.ascontiguousarray(a[:, j]) for a in (self.x, self.z, self.w)
        )
        single.zl, single.zu = float(self.zl[j]), float(self.zu[j])
        single.n_steps = step

    def advance(self, product: Array | None) -> None:
        """Take one step of every program; `product` is K times the points."""
        x, z, w, n = self.x, self.z, self.w, len(self.x)
        room = self.upper - x
        below = np.maximum(x.sum(axis=0) - self.low, 1e-300)
        above = np.maximum(self.high - x.sum(axis=0), 1e-300)
        slab = below * self.zl + above * self.zu
        mu = (np.sum(x * z + room * w, axis=0) + slab) / (2 * n + 2)
        if product is None:
            product = self.form.K @ x
        dual = product - self.q - z + w + (self.zu - self.zl)
        t = self.zl / below + self.zu / above
        d = z / x + w / room + self.floor
        common = np.exp(np.mean(np.log(d), axis=1)), float(np.exp(np.mean(np.log(t))))
        precondition = self.form.preconditioner(*common, self.slow)

        def accurate(r: Array) -> Array:
            out, n_iter = _conjugate_gradients_of_columns(
                lambda v: self.form.K @ v + d * v + t * v.sum(axis=0), r, precondition
            )
            self.slow = self.slow or n_iter > 20
            return out

        def step(solve: Solve, rz: Array, rw: Array, rl: Array, ru: Array) -> Any:
            dx = solve(-dual - rz / x + rw / room - (rl / below - ru / above))
            ds = dx.sum(axis=0)
            return (
                dx,
                (-rz - z * dx) / x,
                (-rw + w * dx) / room,
                (-rl - self.zl * ds) / below,
                (-ru + self.zu * ds) / above,
                ds,
            )

        def longest(dx: Array, dz: Array, dw: Array, dl: Any, du: Any, ds: Any) -> Any:
            pairs = (x, dx), (room, -dx), (z, dz), (w, dw)
            sides = (below, ds), (above, -ds), (self.zl, dl), (self.zu, du)
            return np.minimum.reduce(
                [_ratios(v, e).min(axis=0) for v, e in pairs]
                + [_ratios(v, e) for v, e in sides]
            )

        first = step(precondition, x * z, room * w, below * self.zl, above * self.zu)
        a = np.minimum(1.0, longest(*first))
        dx, dz, dw, dl, du, ds = first
        after = np.sum((x + a * dx) * (z + a * dz), axis=0)
        after += np.sum((room - a * dx) * (w + a * dw), axis=0)
        after += (below + a * ds) * (self.zl + a * dl)
        after += (above - a * ds) * (self.zu + a * du)
        goal = mu * np.clip(after / (2 * n + 2) / mu, 0.0, 1.0) ** 3
        second = step(
            accurate,
            x * z + dx * dz - goal,
            room * w - dx * dw - goal,
            below * self.zl + ds * dl - goal,
            above * self.zu - ds * du - goal,
        )
        a = np.minimum(1.0, 0.99 * longest(*second))
        dx, dz, dw, dl, du, _ = second
        self.x, self.z, self.w = x + a * dx, z + a * dz, w + a * dw
        self.zl, self.zu = self.zl + a * dl, self.zu + a * du


def _ratios(v: Array, d: Array) -> Array:
    """How far each value can go along d before it is 0."""
    falling = d < 0
    ratios: Array = np.where(falling, -v / np.where(falling, d, 1.0), np.inf)
    return ratios


def _conjugate_gradients_of_columns(
    multiply: Solve,
    r: Array,
    precondition: Solve,
    *,
    rtol: float = 1e-2,
    cap: int = 60,
) -> tuple[Array, int]:
    """Solve systems of several matrices with one preconditioner, column by column."""
    x = np.zeros_like(r)
    rest = r.copy()
    z = precondition(rest)
    direction = z.copy()
    size = np.sum(rest * z, axis=0)
    goal = rtol**2 * size
    tiny = np.finfo(float).tiny
    for step in range(cap):
        going = size > goal
        if not going.any():
            return x, step
        image = multiply(direction)
        curvature = np.maximum(np.sum(direction * image, axis=0), tiny)
        length = np.where(going, size / curvature, 0.0)
        x += length * direction
        rest -= length * image
        z = precondition(rest)
        new_size = np.sum(rest * z, axis=0)
        more = np.where(going, new_size / np.maximum(size, tiny), 0.0)
        direction = z + more * direction
        size = np.where(going, new_size, size)
    return x, cap
